// Embeddings, LayerNorm, dropout.

#include <cmath>
#include <string>

#include "cases.h"

namespace electra::test {
namespace {

/// LayerNorm divides by the spread of a row: errors of its sums enter once more through rstd and the two
/// means.
double norm_terms(int64_t width) { return 4.0 * static_cast<double>(width); }

Dropout dropout_of(Scene& s, float p, uint32_t site) {
  Dropout dropout;
  dropout.p = p;
  dropout.site = site;
  dropout.scalars = s.scalars(step_scalars());
  return dropout;
}

void declare_layer_norm(Scene& s, int64_t n, int64_t spare, int64_t width, Into into, bool inference,
                        double offset) {
  const int64_t capacity = n + spare;
  const Extent tokens = s.extent(capacity, spare > 0 ? n : -1);
  Look look;
  look.actual = n;
  look.offset = offset;
  // The mean is subtracted: what rounding x's own size costs, relative to its spread, comes back in y.
  const double loss = 1 + 2 * std::abs(offset);
  LayerNormForward f;
  f.tokens = tokens;
  f.x = s.matrix("x", capacity, width, look);
  f.gamma = s.vector("gamma", width);
  f.beta = s.vector("beta", width);
  Look y = output_look(n, norm_terms(width));
  y.slack = loss;
  f.y = s.matrix("y", capacity, width, y);
  if (!inference) {
    f.normalized = s.matrix("normalized", capacity, width, y);
    f.rstd = s.vector("rstd", capacity, y);
  }
  s.forward([=](Operators& o) { o.layer_norm_forward(f); });
  s.work(0, 4.0 * static_cast<double>(n * width) * (inference ? 2 : 6));
  if (inference) return;
  LayerNormBackward b;
  b.tokens = tokens;
  b.dy = s.matrix("dy", capacity, width, gradient_input(n));
  b.gamma = f.gamma;
  b.normalized = f.normalized;
  b.rstd = f.rstd;
  Look dx = gradient_output(n, norm_terms(width), into);
  dx.slack = loss;
  b.dx = s.matrix("dx", capacity, width, dx);
  b.into = into;
  Look parameter = parameter_gradient(static_cast<double>(n) + norm_terms(width));
  parameter.slack = loss;
  b.d_gamma = s.vector("dgamma", width, parameter);
  b.d_beta = s.vector("dbeta", width, parameter);
  s.backward([=](Operators& o) { o.layer_norm_backward(b); });
  s.cotangent("y", "dy");
  for (const char* x : {"x", "gamma", "beta"}) s.gradient(x, std::string("d") + x);
}

void declare_residual_norm(Scene& s, const RowsLook& look, int64_t width, float p, Into into, bool bias,
                           bool in_place) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input;
  input.actual = n;
  DropoutResidualNormForward f;
  f.rows = rows;
  f.x = s.matrix("x", capacity, width, input);
  if (bias) f.bias = s.vector("bias", width);
  f.residual = s.matrix("residual", capacity, width, input);
  f.dropout = dropout_of(s, p, 7);
  f.gamma = s.vector("gamma", width);
  f.beta = s.vector("beta", width);
  f.y = s.matrix("y", capacity, width, output_look(n, norm_terms(width)));
  f.normalized = s.matrix("normalized", capacity, width, output_look(n, norm_terms(width)));
  f.rstd = s.vector("rstd", capacity, output_look(n, norm_terms(width)));
  s.forward([=](Operators& o) { o.dropout_residual_norm_forward(f); });
  DropoutResidualNormBackward b;
  b.rows = rows;
  Look dy = gradient_input(n);
  if (in_place) {
    dy.role = Role::kAccumulator;
    dy.beyond = Beyond::kZero;
    dy.terms = norm_terms(width);
  }
  b.dy = s.matrix("dy", capacity, width, dy);
  b.dropout = f.dropout;
  b.gamma = f.gamma;
  b.normalized = f.normalized;
  b.rstd = f.rstd;
  b.d_residual =
      in_place ? b.dy : s.matrix("dresidual", capacity, width, gradient_output(n, norm_terms(width), into));
  b.into = into;
  b.dx = s.matrix("dx", capacity, width, gradient_output(n, norm_terms(width)));
  const Look parameter = parameter_gradient(static_cast<double>(n) + norm_terms(width));
  if (bias) b.d_bias = s.vector("dbias", width, parameter);
  b.d_gamma = s.vector("dgamma", width, parameter);
  b.d_beta = s.vector("dbeta", width, parameter);
  s.backward([=](Operators& o) { o.dropout_residual_norm_backward(b); });
  s.work(0, 4.0 * static_cast<double>(n * width) * 8);
  if (in_place) return;
  s.cotangent("y", "dy");
  for (const char* x : {"x", "residual", "gamma", "beta"}) s.gradient(x, std::string("d") + x);
  if (bias) s.gradient("bias", "dbias");
}

void declare_embedding(Scene& s, const RowsLook& look, int64_t width, float p, int32_t vocabulary,
                       bool few_ids) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  s.capacity().vocabulary = vocabulary;
  std::vector<int32_t> ids(static_cast<size_t>(capacity), 0), segments(ids);
  for (int64_t t = 0; t < n; ++t) {
    ids[t] = static_cast<int32_t>(s.choose(static_cast<uint32_t>(few_ids ? 3 : vocabulary)));
    segments[t] = static_cast<int32_t>(s.choose(2));
  }
  Look table;
  table.gap = 0;
  EmbeddingForward f;
  f.rows = rows;
  f.ids = s.integers("ids", ids);
  f.segments = s.integers("segments", segments);
  f.word = s.vector("word", vocabulary * width);
  f.token_type = s.vector("token_type", 2 * width);
  f.position = s.vector("position", look.pitch * width);
  f.gamma = s.vector("gamma", width);
  f.beta = s.vector("beta", width);
  f.dropout = dropout_of(s, p, 3);
  f.y = s.matrix("y", capacity, width, output_look(n, norm_terms(width)));
  f.normalized = s.matrix("normalized", capacity, width, output_look(n, norm_terms(width)));
  f.rstd = s.vector("rstd", capacity, output_look(n, norm_terms(width)));
  s.forward([=](Operators& o) { o.embedding_forward(f); });
  EmbeddingBackward b;
  b.rows = rows;
  b.ids = f.ids;
  b.segments = f.segments;
  b.gamma = f.gamma;
  b.dropout = f.dropout;
  b.dy = s.matrix("dy", capacity, width, gradient_input(n));
  b.normalized = f.normalized;
  b.rstd = f.rstd;
  Look scratch;
  scratch.role = Role::kScratch;
  b.scratch = s.matrix("scratch", capacity, width, scratch);
  const Look parameter = parameter_gradient(static_cast<double>(n) + norm_terms(width));
  b.d_word = s.vector("dword", vocabulary * width, parameter);
  b.d_token_type = s.vector("dtoken_type", 2 * width, parameter);
  b.d_position = s.vector("dposition", look.pitch * width, parameter);
  b.d_gamma = s.vector("dgamma", width, parameter);
  b.d_beta = s.vector("dbeta", width, parameter);
  s.backward([=](Operators& o) { o.embedding_backward(b); });
  s.cotangent("y", "dy");
  for (const char* x : {"word", "token_type", "position", "gamma", "beta"})
    s.gradient(x, std::string("d") + x);
  s.work(0, 4.0 * static_cast<double>(n * width) * 8);
}

/// Inference keeps nothing, and the residual's place may take the result.
void declare_residual_norm_inference(Scene& s, const RowsLook& look, int64_t width) {
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input;
  input.actual = n;
  DropoutResidualNormForward f;
  f.rows = s.rows(look);
  f.x = s.matrix("x", capacity, width, input);
  f.bias = s.vector("bias", width);
  input.role = Role::kAccumulator;
  input.terms = norm_terms(width);
  f.residual = f.y = s.matrix("residual", capacity, width, input);
  f.gamma = s.vector("gamma", width);
  f.beta = s.vector("beta", width);
  s.forward([=](Operators& o) { o.dropout_residual_norm_forward(f); });
}

void declare_embedding_inference(Scene& s, const RowsLook& look, int64_t width) {
  const int64_t n = token_count(look), capacity = n + look.spare;
  s.capacity().vocabulary = 57;
  std::vector<int32_t> ids(static_cast<size_t>(capacity), 0);
  for (int64_t t = 0; t < n; ++t) ids[t] = static_cast<int32_t>(s.choose(57));
  EmbeddingForward f;
  f.rows = s.rows(look);
  f.ids = s.integers("ids", ids);
  f.segments = s.integers("segments", std::vector<int32_t>(static_cast<size_t>(capacity), 0));
  f.word = s.vector("word", 57 * width);
  f.token_type = s.vector("token_type", 2 * width);
  f.position = s.vector("position", look.pitch * width);
  f.gamma = s.vector("gamma", width);
  f.beta = s.vector("beta", width);
  f.y = s.matrix("y", capacity, width, output_look(n, norm_terms(width)));
  s.forward([=](Operators& o) { o.embedding_forward(f); });
}

void declare_dropout(Scene& s, const RowsLook& look, int64_t width, float p, bool in_place) {
  const Rows rows = s.rows(look);
  const int64_t n = token_count(look), capacity = n + look.spare;
  Look input = gradient_input(n);  // also used as a gradient: exactly zero beyond
  if (in_place) {
    input.role = Role::kAccumulator;
    input.beyond = Beyond::kZero;
  }
  DropoutApply f;
  f.rows = rows;
  f.dropout = dropout_of(s, p, 41);
  f.x = s.matrix("x", capacity, width, input);
  f.y = in_place ? f.x : s.matrix("y", capacity, width, output_look(n, 1, Beyond::kZero));
  s.forward([=](Operators& o) { o.dropout(f); });
  s.work(0, 8.0 * static_cast<double>(n * width));
  if (in_place) return;
  DropoutApply b = f;
  b.x = s.matrix("dy", capacity, width, gradient_input(n));
  b.y = s.matrix("dx", capacity, width, gradient_output(n, 1));
  s.backward([=](Operators& o) { o.dropout(b); });
  s.cotangent("y", "dy");
  s.gradient("x", "dx");
}

}  // namespace

void add_norm_cases(Cases* cases) {
  for (const int64_t width : {16, 24, 100, 256, 768, 1100}) {
    for (const Into into : {Into::kWrite, Into::kAdd}) {
      cases->push_back({"layer_norm",
                        "width " + std::to_string(width) + (into == Into::kAdd ? " adding" : ""),
                        [=](Scene& s) { declare_layer_norm(s, 70, 5, width, into, false, 0); }});
    }
    cases->push_back({"layer_norm", "inference, width " + std::to_string(width),
                      [=](Scene& s) { declare_layer_norm(s, 33, 0, width, Into::kWrite, true, 0); }});
  }
  cases->push_back({"layer_norm", "far from zero",
                    [](Scene& s) { declare_layer_norm(s, 40, 0, 64, Into::kWrite, false, 30); }});
  cases->push_back(
      {"layer_norm", "T = 0", [](Scene& s) { declare_layer_norm(s, 0, 2, 64, Into::kWrite, false, 0); }});
  cases->push_back({"layer_norm", "600 tokens",
                    [](Scene& s) { declare_layer_norm(s, 600, 1, 48, Into::kWrite, false, 0); }});
  for (const auto& [name, look] : common_rows()) {
    const RowsLook rows = look;
    for (const int64_t width : {40, 64}) {
      const std::string text = name + ", inference, width " + std::to_string(width);
      cases->push_back({"dropout_residual_norm", text,
                        [=](Scene& s) { declare_residual_norm_inference(s, rows, width); }});
      cases->push_back({"embedding", text, [=](Scene& s) { declare_embedding_inference(s, rows, width); }});
    }
    for (const float p : {0.0f, 0.1f, 0.5f}) {
      const std::string text = name + ", dropout " + std::to_string(p).substr(0, 3);
      for (const int64_t width : {24, 64, 100}) {
        const std::string full = text + ", width " + std::to_string(width);
        const Into into = width == 64 ? Into::kAdd : Into::kWrite;
        cases->push_back({"dropout_residual_norm", full, [=](Scene& s) {
                            declare_residual_norm(s, rows, width, p, into, width != 24, false);
                          }});
        cases->push_back(
            {"dropout", full, [=](Scene& s) { declare_dropout(s, rows, width, p, width == 64); }});
      }
      cases->push_back({"dropout_residual_norm", text + ", in place",
                        [=](Scene& s) { declare_residual_norm(s, rows, 32, p, Into::kWrite, true, true); }});
      cases->push_back({"embedding", text, [=](Scene& s) { declare_embedding(s, rows, 40, p, 57, false); }});
      cases->push_back(
          {"embedding", text + ", few ids", [=](Scene& s) { declare_embedding(s, rows, 128, p, 57, true); }});
    }
  }
  RowsLook few;
  few.lengths = {17, 0, 40};
  few.pitch = 40;
  few.spare = 9;
  for (const int64_t width : {128, 512, 768, 1024, 1100}) {  // what a row's registers hold, and more
    const std::string text = "width " + std::to_string(width);
    cases->push_back({"dropout_residual_norm", text, [=](Scene& s) {
                        declare_residual_norm(s, few, width, 0.1f, Into::kWrite, true, false);
                      }});
    cases->push_back({"embedding", text, [=](Scene& s) { declare_embedding(s, few, width, 0.1f, 57, true); }});
  }
  RowsLook many;  // words that recur hundreds of times
  many.lengths.assign(50, 100);
  many.lengths[3] = 7;
  many.pitch = 100;
  many.spare = 200;
  for (const bool few_ids : {false, true})
    cases->push_back({"embedding", std::string("5000 tokens") + (few_ids ? ", few ids" : ""),
                      [=](Scene& s) { declare_embedding(s, many, 24, 0.1f, 57, few_ids); }});
  RowsLook real;
  real.lengths.assign(32, 128);
  real.pitch = 128;
  cases->push_back({"dropout_residual_norm", "4096 x 256",
                    [=](Scene& s) { declare_residual_norm(s, real, 256, 0.1f, Into::kWrite, true, false); },
                    true});
  cases->push_back({"embedding", "4096 x 128 of 30522",
                    [=](Scene& s) { declare_embedding(s, real, 128, 0.1f, 30522, false); }, true});
}

}  // namespace electra::test
