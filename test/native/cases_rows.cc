// Moving rows.

#include <string>

#include "cases.h"

namespace electra::test {
namespace {

std::vector<int32_t> random_index(Scene& s, int64_t capacity, int64_t actual, int64_t sources,
                                  bool repeated) {
  std::vector<int32_t> index(static_cast<size_t>(capacity), 0);
  for (int64_t i = 0; i < actual; ++i) {
    const uint32_t choices = static_cast<uint32_t>(repeated ? std::min<int64_t>(sources, 3) : sources);
    index[i] = sources == 0 || s.choose(8) == 0 ? -1 : static_cast<int32_t>(s.choose(choices));
  }
  return index;
}

/// y = x[index], and its gradient by scatter-add.
void declare_gather(Scene& s, int64_t count, int64_t spare, int64_t sources, int64_t width, bool repeated,
                    Into into) {
  const int64_t capacity = count + spare;
  const int64_t terms = repeated ? count : 8;
  GatherRows f;
  f.count = s.extent(capacity, count);
  f.index = s.integers("index", random_index(s, capacity, count, sources, repeated));
  f.x = s.matrix("x", sources, width, input_look());
  f.y = s.matrix("y", capacity, width, output_look(count, 1));
  s.forward([=](Operators& o) { o.gather_rows(f); });
  ScatterAddRows b;
  b.count = f.count;
  b.index = f.index;
  b.dy = s.matrix("dy", capacity, width, gradient_input(count));
  b.target = s.extent(sources + 2, sources);
  b.dx = s.matrix("dx", sources + 2, width, gradient_output(sources, static_cast<double>(terms), into));
  b.into = into;
  s.backward([=](Operators& o) { o.scatter_add_rows(b); });
  s.cotangent("y", "dy");
  s.gradient("x", "dx");
  s.work(0, 4.0 * static_cast<double>(count * width) * 5);
}

void declare_towers(Scene& s, const RowsLook& look, int64_t width) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input;
  input.actual = n;
  TowerConcat f;
  f.rows = rows;
  f.left_to_right = s.matrix("left", capacity, width, input);
  f.right_to_left = s.matrix("right", capacity, width, input);
  f.y = s.matrix("y", capacity, 2 * width, output_look(n, 1));
  s.forward([=](Operators& o) { o.tower_concat(f); });
  TowerConcatBackward b;
  b.rows = rows;
  b.dy = s.matrix("dy", capacity, 2 * width, gradient_input(n));
  b.d_left_to_right = s.matrix("dleft", capacity, width, gradient_output(n, 1));
  b.d_right_to_left = s.matrix("dright", capacity, width, gradient_output(n, 1));
  s.backward([=](Operators& o) { o.tower_concat_backward(b); });
  s.cotangent("y", "dy");
  s.gradient("left", "dleft");
  s.gradient("right", "dright");
}

void declare_add(Scene& s, int64_t n, int64_t spare, int64_t width) {
  AddRows f;
  f.tokens = s.extent(n + spare, n);
  Look input = gradient_input(n);
  f.x = s.matrix("x", n + spare, width, input);
  input.role = Role::kAccumulator;
  input.beyond = Beyond::kZero;
  f.y = s.matrix("y", n + spare, width, input);
  s.forward([=](Operators& o) { o.add_rows(f); });
  s.work(0, 12.0 * static_cast<double>(n * width));
}

}  // namespace

void add_row_cases(Cases* cases) {
  for (const int64_t width : {1, 24, 64, 100}) {
    for (const Into into : {Into::kWrite, Into::kAdd}) {
      const std::string text =
          std::string(into == Into::kAdd ? "adding" : "writing") + ", width " + std::to_string(width);
      cases->push_back({"gather/scatter", "40 of 60, " + text,
                        [=](Scene& s) { declare_gather(s, 40, 6, 60, width, false, into); }});
      cases->push_back({"gather/scatter", "300 of 3 rows, " + text,
                        [=](Scene& s) { declare_gather(s, 300, 6, 9, width, true, into); }});
      cases->push_back({"gather/scatter", "none, " + text,
                        [=](Scene& s) { declare_gather(s, 0, 3, 5, width, false, into); }});
      cases->push_back({"gather/scatter", "700 of 1000, " + text,
                        [=](Scene& s) { declare_gather(s, 700, 0, 1000, width, false, into); }});
    }
    cases->push_back(
        {"add_rows", "width " + std::to_string(width), [=](Scene& s) { declare_add(s, 77, 3, width); }});
    for (const auto& [name, look] : common_rows()) {
      const RowsLook rows = look;
      cases->push_back({"tower_concat", name + ", width " + std::to_string(width),
                        [=](Scene& s) { declare_towers(s, rows, width); }});
    }
  }
  cases->push_back({"add_rows", "no token", [](Scene& s) { declare_add(s, 0, 2, 16); }});
  cases->push_back({"gather/scatter", "614 of 4096 x 256",
                    [](Scene& s) { declare_gather(s, 614, 0, 4096, 256, false, Into::kAdd); }, true});
}

}  // namespace electra::test
