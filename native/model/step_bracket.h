#pragma once
// The bracket around a step's device work, and the key by which a device finds a step that it has recorded.

#include <cstring>

#include "../operators.h"

namespace electra {

/// Gives the recording up when an exception passes.
class StepBracket {
 public:
  /// `wanted`: false where data moves to or from the host in the middle of the step.
  StepBracket(Operators& operators, bool wanted, uint64_t key) : operators_(operators), open_(wanted) {
    if (wanted) replayed_ = operators_.begin_step(key);
  }
  ~StepBracket() {
    if (open_) operators_.abandon_step();
  }
  StepBracket(const StepBracket&) = delete;
  StepBracket& operator=(const StepBracket&) = delete;

  /// The work has been done already: go straight to end().
  bool replayed() const { return replayed_; }
  void end() {
    if (open_) operators_.end_step();
    open_ = false;
  }

 private:
  Operators& operators_;
  bool open_ = false;
  bool replayed_ = false;
};

/// FNV-1a over the bytes of plain values.
class Fingerprint {
 public:
  template <typename T>
  Fingerprint& add(const T& value) {
    unsigned char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    for (const unsigned char byte : bytes) hash_ = (hash_ ^ byte) * 1099511628211ull;
    return *this;
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 1469598103934665603ull;
};

}  // namespace electra
