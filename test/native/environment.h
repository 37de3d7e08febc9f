#pragma once
// What is no operator of the table: the caller's floating-point mode, the accuracy of the elementary
// functions, errors.

#include <functional>
#include <string>
#include <vector>

namespace electra::test {

struct EnvironmentCheck {
  std::string name;
  std::function<std::string()> run;  ///< what is wrong; empty if nothing
};
std::vector<EnvironmentCheck> environment_checks();

}  // namespace electra::test
