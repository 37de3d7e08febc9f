#include "cases.h"

namespace electra::test {

std::vector<std::pair<std::string, RowsLook>> common_rows() {
  RowsLook ragged;
  ragged.lengths = {17, 0, 64, 1, 33, 128};
  ragged.pitch = 128;
  ragged.spare = 7;
  ragged.first_global_row = 1000;
  RowsLook exact;
  exact.lengths = {16, 16};
  exact.pitch = 16;
  exact.null_actual = true;
  RowsLook keep;
  keep.lengths = {5, 24, 1, 20};
  keep.pitch = 24;
  keep.keep_padding = true;
  RowsLook one;
  one.lengths = {1};
  one.pitch = 300;
  RowsLook many;
  many.lengths.assign(9, 61);
  many.pitch = 64;
  many.spare = 27;
  RowsLook far;  // coordinates of draws beyond 32 bits
  far.lengths = {9, 30};
  far.pitch = 32;
  far.first_global_row = 50000000;
  RowsLook empty;
  empty.lengths = {0, 0};
  empty.pitch = 8;
  empty.spare = 4;
  RowsLook nothing;
  nothing.pitch = 8;
  return {{"ragged", ragged},   {"exact", exact},         {"keep", keep},   {"one token", one},
          {"549 tokens", many}, {"far row numbers", far}, {"T = 0", empty}, {"B = 0", nothing}};
}

int64_t token_count(const RowsLook& look) {
  int64_t total = 0;
  for (const int32_t length : look.lengths) total += look.keep_padding ? look.pitch : length;
  return total;
}

Look input_look(double scale) {
  Look look;
  look.scale = scale;
  return look;
}

Look output_look(int64_t actual, double terms, Beyond beyond) {
  Look look;
  look.role = Role::kOutput;
  look.actual = actual;
  look.terms = terms;
  look.beyond = beyond;
  return look;
}

Look gradient_input(int64_t actual, double scale) {
  Look look;
  look.actual = actual;
  look.scale = scale;
  look.gradient = true;
  return look;
}

Look gradient_output(int64_t actual, double terms, Into into) {
  Look look;
  look.role = into == Into::kAdd ? Role::kAccumulator : Role::kOutput;
  look.actual = actual;
  look.terms = terms;
  look.beyond = Beyond::kZero;
  return look;
}

Look parameter_gradient(double terms) {
  Look look;
  look.role = Role::kAccumulator;
  look.terms = terms;
  return look;
}

StepScalars step_scalars() {
  StepScalars scalars;
  scalars.seed = 0x9E3779B97F4A7C15ull;
  scalars.step = 12345;
  scalars.learning_rate = 1e-3f;
  return scalars;
}

}  // namespace electra::test
