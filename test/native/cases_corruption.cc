// Masking, replacing, the uniform generator.

#include <string>

#include "cases.h"

namespace electra::test {
namespace {

constexpr int32_t kClass = 101, kSeparator = 102, kMask = 103;

/// Rows as they come: [CLS] … [SEP], a [MASK] here and there; slots for about 15 % of the tokens.
struct Text {
  std::vector<int32_t> ids;
  std::vector<int32_t> slot_offsets{0};
  std::vector<int32_t> slot_row;
};
Text text_of(Scene& s, const RowsLook& look, int32_t slots_per_row, int32_t vocabulary,
             bool every_slot = false) {
  Text text;
  for (const int32_t length : look.lengths) {
    const int32_t pitch = look.keep_padding ? look.pitch : length;
    int32_t candidates = 0;
    for (int32_t i = 0; i < pitch; ++i) {
      int32_t id =
          i >= length ? 0 : 104 + static_cast<int32_t>(s.choose(static_cast<uint32_t>(vocabulary - 104)));
      if (i < length && s.choose(10) == 0) id = kMask;
      if (i == 0 && length > 1) id = kClass;
      if (i == length - 1 && length > 1) id = kSeparator;
      if (i < length && id > kMask) ++candidates;
      text.ids.push_back(id);
    }
    const int32_t wanted = candidates == 0 ? 0
                           : every_slot    ? slots_per_row
                                           : std::min(slots_per_row, std::max(1, length * 15 / 100));
    text.slot_row.insert(text.slot_row.end(), static_cast<size_t>(wanted),
                         static_cast<int32_t>(text.slot_offsets.size()) - 1);
    text.slot_offsets.push_back(text.slot_offsets.back() + wanted);
  }
  text.ids.resize(text.ids.size() + static_cast<size_t>(look.spare), 0);
  return text;
}

void declare_mask(Scene& s, const RowsLook& look, int32_t slots_per_row, bool without_replacement, bool given,
                  float probability, bool every_slot = false) {
  const Text text = text_of(s, look, slots_per_row, 400, every_slot);
  MaskTokens p;
  p.rows = s.rows(look);
  const int64_t slots = text.slot_offsets.back();
  p.scalars = s.scalars(step_scalars());
  p.ids = s.integers("ids", text.ids);
  p.slots = s.extent(slots + 5, slots);
  s.capacity().slots = slots + 5;
  p.slot_offsets = s.integers("slot_offsets", text.slot_offsets);
  p.slots_per_row = slots_per_row;
  p.cls_id = kClass;
  p.sep_id = kSeparator;
  p.mask_id = kMask;
  p.mask_probability = probability;
  p.without_replacement = without_replacement;
  if (given) {
    std::vector<int32_t> positions;
    std::vector<float> uniforms;
    for (const int32_t length : look.lengths) {
      for (int32_t j = 0; j < slots_per_row; ++j) {
        // Few positions, so that repetitions and position 0 occur; uniforms at and beside the threshold.
        positions.push_back(
            length == 0 ? 0 : static_cast<int32_t>(s.choose(static_cast<uint32_t>(std::min(length, 6)))));
        const float choices[] = {0.0f, 0.84999996f, 0.85f, 0.9999f};
        uniforms.push_back(choices[s.choose(4)]);
      }
    }
    p.given_positions = s.integers("positions", positions);
    p.given_replace_uniform = s.given("uniforms", uniforms);
  }
  p.masked_ids = s.integer_output("masked_ids", p.rows.tokens.capacity);
  p.slot_token = s.integer_output("slot_token", slots + 5);
  p.slot_target = s.integer_output("slot_target", slots + 5);
  p.slot_coordinate = s.integer_output("slot_coordinate", slots + 5);
  p.slot_local = s.integer_output("slot_local", slots + 5);
  p.token_slots = s.integer_output("token_slots", p.rows.tokens.capacity + 1);
  p.slot_order = s.integer_output("slot_order", slots + 5);
  s.forward([=](Operators& o) { o.mask_tokens(p); });
  s.work(0, 8.0 * static_cast<double>(text.ids.size()));
}

void declare_replace(Scene& s, const RowsLook& look, bool every_slot) {
  const Text text = text_of(s, look, 12, 400);
  ReplaceTokens p;
  p.rows = s.rows(look);
  const int64_t slots = text.slot_offsets.back();
  std::vector<int32_t> tokens, sampled;
  int32_t begin = 0;
  for (size_t b = 0; b < look.lengths.size(); ++b) {
    const uint32_t length = static_cast<uint32_t>(look.lengths[b]);
    for (int32_t i = text.slot_offsets[b]; i < text.slot_offsets[b + 1]; ++i) {
      tokens.push_back(begin + static_cast<int32_t>(s.choose(std::min(length, 5u))));
      // Sometimes what stood there, so that the label is 0.
      sampled.push_back(s.choose(3) == 0 ? text.ids[static_cast<size_t>(tokens.back())]
                                         : static_cast<int32_t>(s.choose(30522)));
    }
    begin += look.keep_padding ? look.pitch : look.lengths[b];
  }
  tokens.resize(static_cast<size_t>(slots) + 4, 0);
  sampled.resize(static_cast<size_t>(slots) + 4, 0);
  p.ids = s.integers("ids", text.ids);
  p.slots = s.extent(slots + 4, slots);
  s.capacity().slots = slots + 4;
  p.slot_offsets = s.integers("slot_offsets", text.slot_offsets);
  p.slot_token = s.integers("slot_token", tokens);
  p.sampled = s.integers("sampled", sampled);
  p.label_every_slot = every_slot;
  p.replaced_ids = s.integer_output("replaced_ids", p.rows.tokens.capacity);
  p.labels = s.vector("labels", p.rows.tokens.capacity, output_look(token_count(look), 1, Beyond::kZero));
  s.forward([=](Operators& o) { o.replace_tokens(p); });
}

void declare_sample(Scene& s, int64_t slots, int32_t vocabulary, bool disallow, bool given) {
  SampleUniform p;
  const int64_t capacity = slots + 3;
  p.scalars = s.scalars(step_scalars());
  p.slots = s.extent(capacity, slots);
  s.capacity().slots = capacity;
  s.capacity().vocabulary = vocabulary;
  std::vector<int32_t> coordinate, local, target;
  for (int64_t i = 0; i < capacity; ++i) {
    coordinate.push_back(static_cast<int32_t>(i < slots ? 5000 + 3 * i : 0));
    local.push_back(static_cast<int32_t>(i < slots ? slots - 1 - i : 0));
    target.push_back(static_cast<int32_t>(s.choose(static_cast<uint32_t>(vocabulary))));
  }
  p.slot_coordinate = s.integers("slot_coordinate", coordinate);
  p.slot_local = s.integers("slot_local", local);
  p.slot_target = s.integers("slot_target", target);
  p.disallow_correct = disallow;
  p.vocabulary = vocabulary;
  if (given) {
    Look look;
    look.scale = look.offset = 0.5;
    p.given_uniform = s.vector("uniform", slots * vocabulary, look);
  }
  p.sampled = s.integer_output("sampled", capacity);
  s.forward([=](Operators& o) { o.sample_uniform(p); });
}

}  // namespace

void add_corruption_cases(Cases* cases) {
  for (const auto& [name, look] : common_rows()) {
    const RowsLook rows = look;
    for (const int32_t slots_per_row : {19, 3}) {
      const std::string text = name + ", N = " + std::to_string(slots_per_row);
      cases->push_back({"mask_tokens", text,
                        [=](Scene& s) { declare_mask(s, rows, slots_per_row, false, false, 0.85f); }});
      cases->push_back({"mask_tokens", text + ", distinct",
                        [=](Scene& s) { declare_mask(s, rows, slots_per_row, true, false, 0.85f); }});
      cases->push_back({"mask_tokens", text + ", given draws",
                        [=](Scene& s) { declare_mask(s, rows, slots_per_row, false, true, 0.85f); }});
    }
    cases->push_back({"mask_tokens", name + ", all masked",
                      [=](Scene& s) { declare_mask(s, rows, 8, true, false, 1.0f); }});
    // More slots than candidates: the surplus draws again.
    cases->push_back({"mask_tokens", name + ", 40 slots in every row",
                      [=](Scene& s) { declare_mask(s, rows, 40, true, false, 0.85f, true); }});
    for (const bool every : {false, true}) {
      cases->push_back({"replace_tokens", name + (every ? ", every slot is labelled" : ""),
                        [=](Scene& s) { declare_replace(s, rows, every); }});
    }
  }
  // More tokens than a block of the GPU has threads, so that candidates are collected in several rounds.
  RowsLook longer;
  longer.lengths = {300, 129, 260};
  longer.pitch = 300;
  for (const bool without_replacement : {false, true}) {
    cases->push_back({"mask_tokens", without_replacement ? "300 tokens, distinct" : "300 tokens",
                      [=](Scene& s) { declare_mask(s, longer, 45, without_replacement, false, 0.85f); }});
  }
  for (const bool disallow : {false, true}) {
    for (const bool given : {false, true}) {
      const std::string text = std::string(disallow ? ", another id" : "") + (given ? ", given draws" : "");
      cases->push_back({"sample_uniform", "300 slots" + text,
                        [=](Scene& s) { declare_sample(s, 300, 97, disallow, given); }});
      cases->push_back(
          {"sample_uniform", "no slot" + text, [=](Scene& s) { declare_sample(s, 0, 97, disallow, given); }});
    }
    cases->push_back({"sample_uniform", std::string("two ids") + (disallow ? ", another id" : ""),
                      [=](Scene& s) { declare_sample(s, 40, 2, disallow, false); }});
  }
}

}  // namespace electra::test
