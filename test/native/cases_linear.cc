// Linear layers and activations. A pair of layers, y = act(u A + a) B + b, checks forward, both backward
// operators, the activation's gradient on the way and the bias gradients; single layers check Into and the
// odd shapes.

#include <cmath>

#include "cases.h"

namespace electra::test {
namespace {

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kGeluErf:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kTanh:
      return "tanh";
    case Activation::kIdentity:
      break;
  }
  return "identity";
}

constexpr Activation kActivations[] = {Activation::kIdentity, Activation::kGeluErf, Activation::kGeluTanh,
                                       Activation::kRelu, Activation::kTanh};

struct Shape {
  int64_t tokens, spare, in, hidden, out;
  bool wide = false;  ///< the results are a head's logits, f32 on every device
};

double spread(int64_t in) { return 1.7 / std::sqrt(static_cast<double>(in)); }

void declare_pair(Scene& s, const Shape& shape, Activation activation, bool with_bias) {
  const int64_t n = shape.tokens, capacity = n + shape.spare;
  const Extent tokens = s.extent(capacity, shape.spare > 0 ? n : -1);
  Look activations;
  activations.actual = n;

  LinearForward first;
  first.tokens = tokens;
  first.x = s.matrix("u", capacity, shape.in, activations);
  first.weight = s.weight("A", shape.in, shape.hidden, spread(shape.in));
  if (with_bias && activation == Activation::kRelu && s.settings().activations == DType::kBFloat16) {
    // Products of bf16 numbers are coarse, so sums of exactly 0 occur, and with them units whose slope is a
    // matter of rounding. These biases hold every unit to one side; units that switch are tested in f32.
    std::vector<float> sides;
    for (int64_t i = 0; i < shape.hidden; ++i) sides.push_back(s.choose(2) == 0 ? -4.0f : 4.0f);
    first.bias = s.given("a", sides);
  } else if (with_bias) {
    first.bias = s.vector("a", shape.hidden);
  }
  first.activation = activation;
  first.y = s.matrix("z", capacity, shape.hidden, output_look(n, static_cast<double>(shape.in)));
  if (activation != Activation::kIdentity) {
    Look scratch;
    scratch.role = Role::kScratch;
    scratch.actual = n;
    first.aux = s.matrix("aux", capacity, shape.hidden, scratch);
  }
  LinearForward second;
  second.tokens = tokens;
  second.x = first.y;
  second.weight = s.weight("B", shape.hidden, shape.out, spread(shape.hidden));
  if (with_bias) second.bias = s.vector("b", shape.out);
  const auto outer = [&s, &shape, capacity](const char* name, const Look& look) {
    return shape.wide ? s.wide_matrix(name, capacity, shape.out, look)
                      : s.matrix(name, capacity, shape.out, look);
  };
  second.y = outer("y", output_look(n, static_cast<double>(shape.in + shape.hidden)));
  s.forward([=](Operators& o) {
    o.linear_forward(first);
    o.linear_forward(second);
  });

  const double chain = static_cast<double>(shape.in + shape.hidden + shape.out);
  LinearBackwardWeight second_weight;
  second_weight.tokens = tokens;
  second_weight.x = first.y;
  second_weight.dy = outer("dy", gradient_input(n));
  Look weight_gradient = parameter_gradient(static_cast<double>(n) + chain);
  weight_gradient.gap = 0;
  second_weight.d_weight = s.wide_matrix("dB", shape.hidden, shape.out, weight_gradient).f32();
  second_weight.d_weight_stride = shape.out;
  LinearBackwardData data;
  data.tokens = tokens;
  data.dy = second_weight.dy;
  data.weight = second.weight;
  data.activation = activation;
  data.aux = first.aux;
  data.dx = s.matrix("dz", capacity, shape.hidden, gradient_output(n, chain));
  LinearBackwardWeight first_weight;
  first_weight.tokens = tokens;
  first_weight.x = first.x;
  first_weight.dy = data.dx;
  weight_gradient.gap = 5;  // a column view of a wider block, as query, key and value are
  const Tensor first_gradient = s.wide_matrix("dA", shape.in, shape.hidden, weight_gradient);
  first_weight.d_weight = first_gradient.f32();
  first_weight.d_weight_stride = first_gradient.stride;
  if (with_bias) {
    second_weight.d_bias = s.vector("db", shape.out, parameter_gradient(static_cast<double>(n) + chain));
    data.d_bias_of_input = s.vector("da", shape.hidden, parameter_gradient(static_cast<double>(n) + chain));
  }
  LinearBackwardData input;
  input.tokens = tokens;
  input.dy = data.dx;
  input.weight = first.weight;
  input.dx = s.matrix("du", capacity, shape.in, gradient_output(n, chain));
  s.backward([=](Operators& o) {
    o.linear_backward_weight(second_weight);
    o.linear_backward_data(data);
    o.linear_backward_weight(first_weight);
    o.linear_backward_data(input);
  });
  // A finite difference across the kink of ReLU means nothing: with few units no step crosses it.
  if (activation != Activation::kRelu || n * shape.hidden < 2000) {
    s.cotangent("y", "dy");
    for (const char* x : {"u", "A", "B"}) s.gradient(x, std::string("d") + x);
    if (with_bias) {
      s.gradient("a", "da");
      s.gradient("b", "db");
    }
  }
  const double macs =
      static_cast<double>(n) * static_cast<double>(shape.in * shape.hidden + shape.hidden * shape.out);
  s.work(6 * macs, 0);
}

/// One backward product into what is there; the bias gradient beside the weight gradient.
void declare_add(Scene& s, const Shape& shape) {
  const int64_t n = shape.tokens, capacity = n + shape.spare;
  const Extent tokens = s.extent(capacity, n);
  LinearBackwardData data;
  data.tokens = tokens;
  data.dy = s.matrix("dy", capacity, shape.out, gradient_input(n));
  data.weight = s.weight("W", shape.in, shape.out, spread(shape.out));
  data.dx =
      s.matrix("dx", capacity, shape.in, gradient_output(n, static_cast<double>(shape.out), Into::kAdd));
  data.into = Into::kAdd;
  s.forward([=](Operators& o) { o.linear_backward_data(data); });
}

/// A layer that only infers, with its activation: nothing is kept.
void declare_inference(Scene& s, const Shape& shape, Activation activation) {
  const int64_t n = shape.tokens, capacity = n + shape.spare;
  LinearForward p;
  p.tokens = s.extent(capacity, n);
  Look look;
  look.actual = n;
  p.x = s.matrix("x", capacity, shape.in, look);
  p.weight = s.weight("W", shape.in, shape.out, spread(shape.in));
  p.bias = s.vector("bias", shape.out);
  p.activation = activation;
  p.y = s.matrix("y", capacity, shape.out, output_look(n, static_cast<double>(shape.in)));
  s.forward([=](Operators& o) { o.linear_forward(p); });
}

/// Seven uses of a weight, for a device that packs what is used again and again, then one of another weight in
/// its place.
void declare_repeated(Scene& s, const Shape& shape) {
  LinearForward p;
  p.tokens = s.extent(shape.tokens, shape.tokens);
  Look look;
  look.actual = shape.tokens;
  p.x = s.matrix("x", shape.tokens, shape.in, look);
  p.weight = s.weight("W", shape.in, shape.out, spread(shape.in));
  const Weight next = s.weight("V", shape.in, shape.out, spread(shape.in));
  p.bias = s.vector("bias", shape.out);
  LinearForward changed = p;
  const Look output = output_look(shape.tokens, static_cast<double>(shape.in));
  p.y = s.matrix("y", shape.tokens, shape.out, output);
  changed.y = s.matrix("z", shape.tokens, shape.out, output);
  Look scratch;
  scratch.role = Role::kScratch;
  scratch.gap = 0;
  float* kept = s.wide_matrix("kept", shape.in, shape.out, scratch).f32();
  s.forward([=](Operators& o) {
    float* weight = const_cast<float*>(p.weight.master);
    const size_t bytes = static_cast<size_t>(shape.in * p.weight.stride) * sizeof(float);
    for (int use = 0; use < 7; ++use) o.linear_forward(p);
    o.copy(kept, weight, bytes);
    o.copy(weight, next.master, bytes);
    o.refresh_parameters(weight);
    o.linear_forward(changed);
    o.copy(weight, kept, bytes);
    o.refresh_parameters(weight);
  });
}

void declare_activation(Scene& s, int64_t n, int64_t spare, int64_t width, Activation activation,
                        bool in_place, double scale = 4) {
  const int64_t capacity = n + spare;
  const Extent tokens = s.extent(capacity, spare > 0 ? n : -1);
  Look look;
  look.actual = n;
  look.scale = scale;
  if (in_place) look.role = Role::kAccumulator;
  ActivationForward f;
  f.tokens = tokens;
  f.activation = activation;
  f.x = s.matrix("x", capacity, width, look);
  f.y = in_place ? f.x : s.matrix("y", capacity, width, output_look(n, 1));
  look.role = Role::kScratch;
  f.aux = s.matrix("aux", capacity, width, look);
  s.forward([=](Operators& o) { o.activation_forward(f); });
  ActivationBackward b;
  b.tokens = tokens;
  b.activation = activation;
  b.aux = f.aux;
  Look gradient = gradient_input(n);
  if (in_place) {
    gradient.role = Role::kAccumulator;
    gradient.beyond = Beyond::kZero;
  }
  b.dy = s.matrix("dy", capacity, width, gradient);
  b.dx = in_place ? b.dy : s.matrix("dx", capacity, width, gradient_output(n, 1));
  s.backward([=](Operators& o) { o.activation_backward(b); });
  if (!in_place && scale > 0 && (activation != Activation::kRelu || n * width < 2000)) {
    s.cotangent("y", "dy");
    s.gradient("x", "dx");
  }
  s.work(0, 4.0 * static_cast<double>(n * width) * 6);
}

}  // namespace

void add_linear_cases(Cases* cases) {
  const Shape shapes[] = {{37, 5, 24, 40, 17},       {1, 0, 64, 64, 64},       {0, 3, 16, 32, 16},
                          {130, 0, 48, 20, 96},      {300, 9, 64, 100, 33},    {7, 0, 1, 3, 1, true},
                          {90, 6, 64, 256, 1, true}, {65, 3, 40, 72, 3, true}, {33, 2, 16, 64, 20, true}};
  for (const Activation activation : kActivations) {
    for (const Shape& shape : shapes) {
      const std::string name = std::string(name_of(activation)) + " T=" + std::to_string(shape.tokens) + " " +
                               std::to_string(shape.in) + "x" + std::to_string(shape.hidden) + "x" +
                               std::to_string(shape.out);
      cases->push_back({"linear", name, [=](Scene& s) { declare_pair(s, shape, activation, true); }});
      cases->push_back(
          {"linear inference", name, [=](Scene& s) { declare_inference(s, shape, activation); }});
    }
    for (const int64_t width : {1, 16, 37, 256}) {
      const std::string name = std::string(name_of(activation)) + " width " + std::to_string(width);
      cases->push_back(
          {"activation", name, [=](Scene& s) { declare_activation(s, 65, 4, width, activation, false); }});
      cases->push_back({"activation", name + " in place",
                        [=](Scene& s) { declare_activation(s, 20, 3, width, activation, true); }});
      // The slope of relu at 0 is a matter of definition: 0.
      cases->push_back({"activation", name + " at 0",
                        [=](Scene& s) { declare_activation(s, 5, 0, width, activation, false, 0); }});
    }
  }
  for (const Shape& shape : shapes) {
    const std::string name = "T=" + std::to_string(shape.tokens) + " " + std::to_string(shape.in) + "x" +
                             std::to_string(shape.out);
    cases->push_back({"linear", "without bias " + name,
                      [=](Scene& s) { declare_pair(s, shape, Activation::kGeluErf, false); }});
    cases->push_back({"linear", "adding dx " + name, [=](Scene& s) { declare_add(s, shape); }});
  }
  for (const Shape& shape : {Shape{16, 0, 256, 0, 96}, Shape{3, 0, 40, 0, 48}, Shape{100, 0, 400, 0, 296}}) {
    cases->push_back({"linear inference", "a weight used again and changed, T=" + std::to_string(shape.tokens),
                      [=](Scene& s) { declare_repeated(s, shape); }});
  }
  // Where the built-in products change their way: heights of strips, parts of panels, one and several blocks of
  // the depth and of columns, rows that lie 2 kB apart, one and several blocks of rows that share a packed
  // weight.
  const Shape edges[] = {{1, 0, 512, 70, 33},   {13, 0, 385, 97, 1},   {15, 1, 33, 31, 65},
                         {16, 0, 1, 32, 64},    {17, 0, 1024, 100, 48}, {29, 2, 384, 96, 17},
                         {129, 0, 512, 130, 40}, {257, 3, 520, 513, 20}, {300, 0, 40, 290, 512}};
  for (const Shape& shape : edges) {
    const std::string name = "T=" + std::to_string(shape.tokens) + " " + std::to_string(shape.in) + "x" +
                             std::to_string(shape.hidden) + "x" + std::to_string(shape.out);
    cases->push_back({"linear", "edges " + name,
                      [=](Scene& s) { declare_pair(s, shape, Activation::kIdentity, true); }});
    cases->push_back({"linear", "edges adding dx " + name, [=](Scene& s) { declare_add(s, shape); }});
  }
  const Shape real{640, 0, 256, 1024, 256};
  cases->push_back({"linear", "feed-forward of small, 640 tokens",
                    [=](Scene& s) { declare_pair(s, real, Activation::kGeluErf, true); }, false});
  const Shape large{4096, 0, 256, 1024, 256};
  cases->push_back({"linear", "feed-forward of small, 4096 tokens",
                    [=](Scene& s) { declare_pair(s, large, Activation::kGeluErf, true); }, true});
  cases->push_back({"activation", "gelu 4096 x 1024",
                    [=](Scene& s) { declare_activation(s, 4096, 0, 1024, Activation::kGeluErf, false); },
                    true});
}

}  // namespace electra::test
