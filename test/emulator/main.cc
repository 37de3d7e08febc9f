// electra_emulator_tests [filter]: the emulator finds the mistakes it is there to find. Every test runs under
// each schedule that it does not choose itself.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "../../cuda/platform/platform.h"
#include "harness.h"

namespace electra::test {

std::string message_of_death(const std::function<void()>& body) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    std::fflush(stderr);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[1024];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;)
    text.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? std::string() : text;  // a sanitizer exits
}

std::string message_of_error(const std::function<void()>& body) {
  try {
    body();
  } catch (const EngineError& error) {
    return error.what();
  }
  return "";
}

}  // namespace electra::test

int main(int count, char** arguments) {
  const char* filter = count > 1 ? arguments[1] : "";
  int passed = 0, failed = 0;
  for (const char* schedule : {"forward", "reversed", "random:1", "random:2"}) {
    for (const electra::test::Test& test : electra::test::tests()) {
      if (test.name.find(filter) == std::string::npos) continue;
      electra::emulator::options() = electra::emulator::Options{};
      electra::emulator::set_schedule(schedule);
      try {
        test.run();
        ++passed;
      } catch (const std::exception& error) {
        ++failed;
        std::printf("FAIL %s (%s): %s\n", test.name.c_str(), schedule, error.what());
      }
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
