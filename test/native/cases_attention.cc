// Attention, forward, backward and its probabilities.

#include <cmath>
#include <string>

#include "cases.h"

namespace electra::test {
namespace {

const char* name_of(AttentionMask mask) {
  return mask == AttentionMask::kFull          ? "full"
         : mask == AttentionMask::kLeftToRight ? "left to right"
                                               : "right to left";
}

/// `blind`: some query may see nothing, so all its scores lie near −10000, where f32 has steps of 2^-10.
void declare_attention(Scene& s, const RowsLook& look, int32_t heads, int64_t size, AttentionMask mask,
                       float p, double scale, bool blind) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare, width = heads * size;
  s.capacity().max_heads = heads;
  Look input;
  input.actual = n;
  input.scale = scale;
  // A score is a sum of `size` products, its error enters the exponential; then a sum over the row's keys.
  const double terms = static_cast<double>(size + look.pitch);
  const double slack = 1 + scale * scale;
  Look output = output_look(n, terms);
  output.slack = slack;
  if (blind) output.absolute = 2e-3 * scale;
  AttentionForward f;
  f.rows = rows;
  f.heads = heads;
  f.mask = mask;
  f.dropout.p = p;
  f.dropout.site = 11;
  f.dropout.scalars = s.scalars(step_scalars());
  f.qkv = s.matrix("qkv", capacity, 3 * width, input);
  f.context = s.matrix("context", capacity, width, output);
  // [tokens, heads] without a gap: declared as a vector whose rows beyond the extent are the last ones.
  Look sums = output;
  sums.actual = n * heads;
  f.log_sum_exp = s.vector("log_sum_exp", capacity * heads, sums);
  s.forward([=](Operators& o) { o.attention_forward(f); });
  AttentionBackward b;
  b.rows = rows;
  b.heads = heads;
  b.mask = mask;
  b.dropout = f.dropout;
  b.qkv = f.qkv;
  b.context = f.context;
  b.log_sum_exp = f.log_sum_exp;
  b.d_context = s.matrix("dcontext", capacity, width, gradient_input(n));
  Look gradient = gradient_output(n, 4 * terms);
  gradient.slack = slack;
  if (blind) gradient.absolute = 4e-3 * scale * scale;
  b.d_qkv = s.matrix("dqkv", capacity, 3 * width, gradient);
  s.backward([=](Operators& o) { o.attention_backward(b); });
  s.cotangent("context", "dcontext");
  s.gradient("qkv", "dqkv");
  double pairs = 0;
  for (const int32_t length : look.lengths) {
    const double l = look.keep_padding ? look.pitch : length;
    pairs += l * l * heads;
  }
  s.work(pairs * static_cast<double>(size) * 2 * 7, 0);
}

void declare_inference(Scene& s, const RowsLook& look, int32_t heads, int64_t size, AttentionMask mask,
                       bool blind) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare, width = heads * size;
  s.capacity().max_heads = heads;
  Look input;
  input.actual = n;
  AttentionForward f;
  f.rows = rows;
  f.heads = heads;
  f.mask = mask;
  f.qkv = s.matrix("qkv", capacity, 3 * width, input);
  Look output = output_look(n, static_cast<double>(size + look.pitch));
  if (blind) output.absolute = 2e-3;
  f.context = s.matrix("context", capacity, width, output);
  AttentionProbabilities p;
  p.rows = rows;
  p.heads = heads;
  p.mask = mask;
  p.qkv = f.qkv;
  const int64_t cells = static_cast<int64_t>(rows.batch) * heads * rows.pitch * rows.pitch;
  Look probabilities = output_look(-1, static_cast<double>(size + look.pitch));
  probabilities.absolute = blind ? 2e-3 : 0;
  p.probabilities = s.vector("probabilities", cells, probabilities);
  s.forward([=](Operators& o) {
    o.attention_forward(f);
    o.attention_probabilities(p);
  });
}

}  // namespace

void add_attention_cases(Cases* cases) {
  for (const auto& [name, look] : common_rows()) {
    const RowsLook rows = look;
    for (const int64_t size : {64, 16, 32, 24, 7}) {
      for (const AttentionMask mask :
           {AttentionMask::kFull, AttentionMask::kLeftToRight, AttentionMask::kRightToLeft}) {
        const bool blind = rows.keep_padding && mask == AttentionMask::kRightToLeft;
        const float p = mask == AttentionMask::kRightToLeft ? 0.0f : 0.1f;
        const std::string text = name + ", head size " + std::to_string(size) + ", " + name_of(mask);
        cases->push_back(
            {"attention", text, [=](Scene& s) { declare_attention(s, rows, 2, size, mask, p, 1, blind); }});
        if (size == 64 || size == 24) {
          cases->push_back({"attention inference", text,
                            [=](Scene& s) { declare_inference(s, rows, 3, size, mask, blind); }});
        }
      }
    }
    cases->push_back({"attention", name + ", dropout off", [=](Scene& s) {
                        declare_attention(s, rows, 4, 64, AttentionMask::kFull, 0, 1, false);
                      }});
    cases->push_back({"attention", name + ", dropout 0.5", [=](Scene& s) {
                        declare_attention(s, rows, 3, 64, AttentionMask::kFull, 0.5f, 1, false);
                      }});
    cases->push_back({"attention", name + ", sharp scores", [=](Scene& s) {
                        declare_attention(s, rows, 2, 64, AttentionMask::kFull, 0.1f, 4, false);
                      }});
  }
  RowsLook unseen;  // kept rows without a real token: every score is masked
  unseen.lengths = {0, 9, 0};
  unseen.pitch = 17;
  unseen.keep_padding = true;
  cases->push_back({"attention", "kept rows of no real token", [=](Scene& s) {
                      declare_attention(s, unseen, 2, 16, AttentionMask::kFull, 0.1f, 1, true);
                    }});
  RowsLook longest;
  longest.lengths = {512, 300};
  longest.pitch = 512;
  cases->push_back({"attention", "512 tokens", [=](Scene& s) {
                      declare_attention(s, longest, 1, 64, AttentionMask::kFull, 0.1f, 1, false);
                    }});
  for (const int32_t length : {2, 15, 31, 63, 65, 127, 129}) {
    RowsLook rows;
    rows.lengths = {length, 3};
    rows.pitch = length + 2;
    cases->push_back({"attention", "length " + std::to_string(length), [=](Scene& s) {
                        declare_attention(s, rows, 1, 64, AttentionMask::kFull, 0.1f, 1, false);
                      }});
  }
  RowsLook tiles;  // rows of several tiles with an end in the middle of one, and tokens to spare
  tiles.lengths = {300, 0, 150, 65};
  tiles.pitch = 300;
  tiles.spare = 37;
  RowsLook kept;
  kept.lengths = {150, 3, 0};
  kept.pitch = 150;
  kept.keep_padding = true;
  for (const AttentionMask mask :
       {AttentionMask::kFull, AttentionMask::kLeftToRight, AttentionMask::kRightToLeft}) {
    for (const int64_t size : {64, 128}) {
      const std::string text = ", head size " + std::to_string(size) + ", " + name_of(mask);
      cases->push_back({"attention", "several tiles" + text, [=](Scene& s) {
                          declare_attention(s, tiles, 1, size, mask, 0.1f, 2, false);
                        }});
      cases->push_back({"attention", "several tiles of kept rows" + text, [=](Scene& s) {
                          declare_attention(s, kept, 1, size, mask, 0.1f, 1, true);
                        }});
    }
  }
  RowsLook vacant;  // no rows, but tokens to spare: they are cleared all the same
  vacant.pitch = 8;
  vacant.spare = 3;
  cases->push_back({"attention", "B = 0, tokens to spare", [=](Scene& s) {
                      declare_attention(s, vacant, 1, 64, AttentionMask::kFull, 0.1f, 1, false);
                    }});
  RowsLook real;
  real.lengths.assign(32, 128);
  real.pitch = 128;
  for (const float p : {0.0f, 0.1f}) {
    cases->push_back({"attention", std::string("32 x 128, 4 heads of 64") + (p > 0 ? ", dropout" : ""),
                      [=](Scene& s) { declare_attention(s, real, 4, 64, AttentionMask::kFull, p, 1, false); },
                      true});
  }
  RowsLook far;
  far.lengths.assign(8, 512);
  far.pitch = 512;
  cases->push_back({"attention", "8 x 512, 4 heads of 64, dropout",
                    [=](Scene& s) { declare_attention(s, far, 4, 64, AttentionMask::kFull, 0.1f, 1, false); },
                    true});
}

}  // namespace electra::test
