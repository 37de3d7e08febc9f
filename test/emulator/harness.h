#pragma once
// Tests are functions that throw.

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace electra::test {

struct Test {
  std::string name;
  std::function<void()> run;
};
inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}
struct Register {
  Register(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

/// Runs `body` in a forked child; what it wrote to stderr, or "" when it ended normally.
std::string message_of_death(const std::function<void()>& body);

/// The message of the EngineError that `body` throws, or "".
std::string message_of_error(const std::function<void()>& body);

}  // namespace electra::test

#define TEST(name)                                                             \
  static void test_##name();                                                   \
  static const ::electra::test::Register register_##name(#name, &test_##name); \
  static void test_##name()

#define EXPECT(condition)                                                                       \
  do {                                                                                          \
    if (!(condition))                                                                           \
      throw std::runtime_error(std::string(#condition) + ", line " + std::to_string(__LINE__)); \
  } while (0)

/// `text` holds `part`; the message shows both.
#define EXPECT_CONTAINS(text, part)                                                  \
  do {                                                                               \
    const std::string text_ = (text), part_ = (part);                                \
    if (text_.find(part_) == std::string::npos) {                                    \
      throw std::runtime_error("\"" + part_ + "\" not in \"" + text_ + "\", line " + \
                               std::to_string(__LINE__));                            \
    }                                                                                \
  } while (0)
