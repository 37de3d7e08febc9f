#pragma once
// Numbers of the dropout sites: unique within a step, so that no two masks share random words.

#include <cstdint>

namespace electra {

enum class Network : uint32_t {
  kGenerator = 1,
  kDiscriminator = 2,
  kLeftToRight = 3,
  kRightToLeft = 4,
  kTaskHead = 5,
};

constexpr uint32_t kSitesPerNetwork = 1u << 16;
constexpr uint32_t kSitesPerLayer = 8;

constexpr uint32_t embedding_site(Network network) {
  return static_cast<uint32_t>(network) * kSitesPerNetwork + kSitesPerNetwork - 1;
}
constexpr uint32_t attention_site(Network network, int layer) {
  return static_cast<uint32_t>(network) * kSitesPerNetwork + static_cast<uint32_t>(layer) * kSitesPerLayer;
}
constexpr uint32_t attention_output_site(Network network, int layer) {
  return attention_site(network, layer) + 1;
}
constexpr uint32_t feed_forward_site(Network network, int layer) {
  return attention_site(network, layer) + 2;
}
/// Dropout before the head of task number `task`.
constexpr uint32_t task_head_site(int task) {
  return static_cast<uint32_t>(Network::kTaskHead) * kSitesPerNetwork + static_cast<uint32_t>(task);
}

}  // namespace electra
