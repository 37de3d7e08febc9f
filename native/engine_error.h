#pragma once
// The one exception of the engine. Header-only and free of STL members, so that it can cross the boundary of
// a backend library built by the same compiler.

#include <cstdarg>
#include <cstdio>
#include <exception>

namespace electra {

/// An error with a stable code (`ERR_ELECTRA_…`, the same family as in the TypeScript shell) and a message
/// that says what happened, with the operation and the shapes or values concerned.
class EngineError : public std::exception {
 public:
  __attribute__((format(printf, 3, 4))) EngineError(const char* code, const char* format, ...) {
    std::snprintf(code_, sizeof(code_), "%s", code);
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message_, sizeof(message_), format, arguments);
    va_end(arguments);
  }
  const char* what() const noexcept override { return message_; }
  const char* code() const noexcept { return code_; }

 private:
  char code_[48];
  char message_[720];
};

/// Throws ERR_ELECTRA_SHAPE: a caller handed shapes to an operator that do not fit together.
#define ELECTRA_CHECK_SHAPE(condition, ...)                                           \
  do {                                                                                \
    if (!(condition)) throw ::electra::EngineError("ERR_ELECTRA_SHAPE", __VA_ARGS__); \
  } while (0)

}  // namespace electra
