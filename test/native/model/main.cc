// Whole training steps of the engine against naive double arithmetic: model_tests [part of a fixture's name].

#include <cstdio>

#include "model_test.h"

int main(int argc, char** argv) {
  const std::string filter = argc > 1 ? argv[1] : "";
  electra::test::Counter counter;
  try {
    for (const electra::DType precision : electra::test::precisions()) {
      electra::test::test_pretraining(filter, precision, counter);
      electra::test::test_finetuning(filter, precision, counter);
    }
  } catch (const std::exception& error) {
    std::printf("FAIL %s\n", error.what());
    ++counter.failed;
  }
  std::printf("%d passed, %d failed\n", counter.passed, counter.failed);
  return counter.failed == 0 && counter.passed > 0 ? 0 : 1;
}
