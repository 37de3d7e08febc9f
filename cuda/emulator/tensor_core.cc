// mma and ldmatrix for a whole warp at once, run by the last lane to come.

#include <cstring>

#include "scheduler.h"

namespace electra::emulator {
namespace {

void require_full_warp(const WarpExchange& exchange, const char* what) {
  if (exchange.lanes != 0xFFFFFFFFu) kernel_error("%s: lanes 0x%08x of 32 are left", what, exchange.lanes);
}

float low(uint32_t pair) {
  const uint32_t bits = pair << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
float high(uint32_t pair) { return low(pair >> 16); }

/// The 8 x 8 matrices of 16-bit elements whose rows the lanes name: lane 8 m + r names row r of matrix m.
void load_rows(const WarpExchange& exchange, uint16_t (&rows)[32][8]) {
  require_full_warp(exchange, "ldmatrix");
  for (int lane = 0; lane < 32; ++lane) {
    const void* address = exchange.in[lane].address;
    if (address == nullptr) continue;  // a lane that ldmatrix.x2 does not ask
    check_shared("ldmatrix", address, 16);
    std::memcpy(rows[lane], address, 16);
  }
}

}  // namespace

void complete_mma_m16n8k16(WarpExchange& exchange) {
  require_full_warp(exchange, "mma.m16n8k16");
  float a[16][16], b[16][8], sum[16][8] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const uint32_t (&word)[8] = exchange.in[lane].word;
    for (int i = 0; i < 4; ++i) {
      const int row = g + i % 2 * 8, k = 2 * t + i / 2 * 8;
      a[row][k] = low(word[i]);
      a[row][k + 1] = high(word[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + i * 8][g] = low(word[4 + i]);
      b[2 * t + i * 8 + 1][g] = high(word[4 + i]);
    }
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < 16; ++k) {
      for (int j = 0; j < 8; ++j) sum[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const float product[4] = {sum[g][2 * t], sum[g][2 * t + 1], sum[g + 8][2 * t], sum[g + 8][2 * t + 1]};
    std::memcpy(exchange.out[lane].word, product, sizeof(product));
  }
}

void complete_ldmatrix(WarpExchange& exchange) {
  uint16_t rows[32][8] = {};
  load_rows(exchange, rows);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      std::memcpy(&exchange.out[lane].word[m], &rows[8 * m + lane / 4][2 * (lane % 4)], 4);
    }
  }
}

void complete_ldmatrix_transposed(WarpExchange& exchange) {
  uint16_t rows[32][8] = {};
  load_rows(exchange, rows);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      const int row = 8 * m + 2 * (lane % 4), column = lane / 4;
      exchange.out[lane].word[m] = rows[row][column] | static_cast<uint32_t>(rows[row + 1][column]) << 16;
    }
  }
}

}  // namespace electra::emulator
