#include "hash128.hpp"

#include <emmintrin.h>

#include <cstring>

namespace tileloom {
namespace {

constexpr uint64_t kPrime32_1 = 0x9E3779B1u;
constexpr uint64_t kPrime32_2 = 0x85EBCA77u;
constexpr uint64_t kPrime32_3 = 0xC2B2AE3Du;
constexpr uint64_t kPrime64_1 = 0x9E3779B185EBCA87u;
constexpr uint64_t kPrime64_2 = 0xC2B2AE3D27D4EB4Fu;
constexpr uint64_t kPrime64_3 = 0x165667B19E3779F9u;
constexpr uint64_t kPrime64_4 = 0x85EBCA77C2B2AE63u;
constexpr uint64_t kPrime64_5 = 0x27D4EB2F165667C5u;
constexpr uint64_t kMix1 = 0x165667919E3779F9u;
constexpr uint64_t kMix2 = 0x9FB21C651E98DF25u;

constexpr uint64_t kSecretBytes = 192;
constexpr uint64_t kStripeBytes = 64;
constexpr uint64_t kStripesPerBlock = (kSecretBytes - kStripeBytes) / 8;
constexpr uint64_t kBlockBytes = kStripeBytes * kStripesPerBlock;

// The default secret of the specification.
alignas(64) constexpr uint8_t kSecret[kSecretBytes] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

struct Halves {
  uint64_t low;
  uint64_t high;
};

uint64_t read64(const uint8_t *from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

uint32_t read32(const uint8_t *from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

Halves multiply(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return {static_cast<uint64_t>(product), static_cast<uint64_t>(product >> 64)};
}

uint64_t multiply_fold(uint64_t a, uint64_t b) {
  const Halves product = multiply(a, b);
  return product.low ^ product.high;
}

uint64_t avalanche(uint64_t hash) {
  hash ^= hash >> 37;
  hash *= kMix1;
  return hash ^ (hash >> 32);
}

uint64_t avalanche64(uint64_t hash) {
  hash ^= hash >> 33;
  hash *= kPrime64_2;
  hash ^= hash >> 29;
  hash *= kPrime64_3;
  return hash ^ (hash >> 32);
}

Halves hash_0() {
  return {avalanche64(read64(kSecret + 64) ^ read64(kSecret + 72)),
          avalanche64(read64(kSecret + 80) ^ read64(kSecret + 88))};
}

Halves hash_1_to_3(const uint8_t *in, uint64_t size) {
  const uint32_t combined = static_cast<uint32_t>(in[0]) << 16 |
                            static_cast<uint32_t>(in[size >> 1]) << 24 | in[size - 1] |
                            static_cast<uint32_t>(size) << 8;
  const uint32_t swapped = __builtin_bswap32(combined);
  const uint32_t rotated = swapped << 13 | swapped >> 19;
  const uint64_t low = combined ^ static_cast<uint64_t>(read32(kSecret) ^ read32(kSecret + 4));
  const uint64_t high = rotated ^ static_cast<uint64_t>(read32(kSecret + 8) ^ read32(kSecret + 12));
  return {avalanche64(low), avalanche64(high)};
}

Halves hash_4_to_8(const uint8_t *in, uint64_t size) {
  const uint64_t both = read32(in) + (static_cast<uint64_t>(read32(in + size - 4)) << 32);
  const uint64_t keyed = both ^ (read64(kSecret + 16) ^ read64(kSecret + 24));
  Halves hash = multiply(keyed, kPrime64_1 + (size << 2));
  hash.high += hash.low << 1;
  hash.low ^= hash.high >> 3;
  hash.low ^= hash.low >> 35;
  hash.low *= kMix2;
  hash.low ^= hash.low >> 28;
  hash.high = avalanche(hash.high);
  return hash;
}

Halves hash_9_to_16(const uint8_t *in, uint64_t size) {
  const uint64_t flip_low = read64(kSecret + 32) ^ read64(kSecret + 40);
  const uint64_t flip_high = read64(kSecret + 48) ^ read64(kSecret + 56);
  const uint64_t first = read64(in);
  uint64_t last = read64(in + size - 8);
  Halves mixed = multiply(first ^ last ^ flip_low, kPrime64_1);
  mixed.low += (size - 1) << 54;
  last ^= flip_high;
  mixed.high += last + (last & 0xffffffffu) * (kPrime32_2 - 1);
  mixed.low ^= __builtin_bswap64(mixed.high);
  Halves hash = multiply(mixed.low, kPrime64_2);
  hash.high += mixed.high * kPrime64_2;
  return {avalanche(hash.low), avalanche(hash.high)};
}

uint64_t mix16(const uint8_t *in, const uint8_t *secret) {
  return multiply_fold(read64(in) ^ read64(secret), read64(in + 8) ^ read64(secret + 8));
}

void mix32(Halves &hash, const uint8_t *in1, const uint8_t *in2, const uint8_t *secret) {
  hash.low += mix16(in1, secret);
  hash.low ^= read64(in2) + read64(in2 + 8);
  hash.high += mix16(in2, secret + 16);
  hash.high ^= read64(in1) + read64(in1 + 8);
}

Halves finish_medium(const Halves &hash, uint64_t size) {
  const uint64_t low = hash.low + hash.high;
  const uint64_t high = hash.low * kPrime64_1 + hash.high * kPrime64_4 + size * kPrime64_2;
  return {avalanche(low), uint64_t{0} - avalanche(high)};
}

Halves hash_17_to_128(const uint8_t *in, uint64_t size) {
  Halves hash{size * kPrime64_1, 0};
  for (uint64_t step = (size - 1) / 32 + 1; step-- > 0;) {
    mix32(hash, in + 16 * step, in + size - 16 * (step + 1), kSecret + 32 * step);
  }
  return finish_medium(hash, size);
}

Halves hash_129_to_240(const uint8_t *in, uint64_t size) {
  Halves hash{size * kPrime64_1, 0};
  for (uint64_t at = 0; at < 128; at += 32) {
    mix32(hash, in + at, in + at + 16, kSecret + at);
  }
  hash = {avalanche(hash.low), avalanche(hash.high)};
  for (uint64_t end = 160; end <= size; end += 32) {
    mix32(hash, in + end - 32, in + end - 16, kSecret + 3 + end - 160);
  }
  // The last 32 bytes, with the negated seed, which is 0.
  mix32(hash, in + size - 16, in + size - 32, kSecret + 136 - 17 - 16);
  return finish_medium(hash, size);
}

// Eight 64-bit lanes in four SSE2 registers.
struct Lanes {
  __m128i lane[4];
};

void accumulate(Lanes &lanes, const uint8_t *in, const uint8_t *secret) {
  for (int index = 0; index < 4; ++index) {
    const __m128i data = _mm_loadu_si128(reinterpret_cast<const __m128i *>(in) + index);
    const __m128i key = _mm_loadu_si128(reinterpret_cast<const __m128i *>(secret) + index);
    const __m128i keyed = _mm_xor_si128(data, key);
    const __m128i high = _mm_shuffle_epi32(keyed, _MM_SHUFFLE(0, 3, 0, 1));
    const __m128i product = _mm_mul_epu32(keyed, high);
    const __m128i swapped = _mm_shuffle_epi32(data, _MM_SHUFFLE(1, 0, 3, 2));
    lanes.lane[index] = _mm_add_epi64(product, _mm_add_epi64(swapped, lanes.lane[index]));
  }
}

void scramble(Lanes &lanes, const uint8_t *secret) {
  const __m128i prime = _mm_set1_epi32(static_cast<int>(kPrime32_1));
  for (int index = 0; index < 4; ++index) {
    const __m128i lane = lanes.lane[index];
    const __m128i shifted = _mm_xor_si128(lane, _mm_srli_epi64(lane, 47));
    const __m128i key = _mm_loadu_si128(reinterpret_cast<const __m128i *>(secret) + index);
    const __m128i keyed = _mm_xor_si128(shifted, key);
    const __m128i low = _mm_mul_epu32(keyed, prime);
    const __m128i high = _mm_mul_epu32(_mm_srli_epi64(keyed, 32), prime);
    lanes.lane[index] = _mm_add_epi64(low, _mm_slli_epi64(high, 32));
  }
}

uint64_t merge(const uint64_t *lanes, const uint8_t *secret, uint64_t start) {
  uint64_t hash = start;
  for (int pair = 0; pair < 4; ++pair) {
    hash += multiply_fold(lanes[2 * pair] ^ read64(secret + 16 * pair),
                          lanes[2 * pair + 1] ^ read64(secret + 16 * pair + 8));
  }
  return avalanche(hash);
}

Halves hash_long(const uint8_t *in, uint64_t size) {
  alignas(16) uint64_t start[8] = {kPrime32_3, kPrime64_1, kPrime64_2, kPrime64_3,
                                   kPrime64_4, kPrime32_2, kPrime64_5, kPrime32_1};
  Lanes lanes;
  std::memcpy(&lanes, start, sizeof lanes);
  const uint64_t blocks = (size - 1) / kBlockBytes;
  for (uint64_t block = 0; block < blocks; ++block) {
    for (uint64_t stripe = 0; stripe < kStripesPerBlock; ++stripe) {
      const uint8_t *from = in + block * kBlockBytes + stripe * kStripeBytes;
      __builtin_prefetch(from + 512);
      accumulate(lanes, from, kSecret + stripe * 8);
    }
    scramble(lanes, kSecret + kSecretBytes - kStripeBytes);
  }
  const uint64_t rest = (size - 1 - blocks * kBlockBytes) / kStripeBytes;
  for (uint64_t stripe = 0; stripe < rest; ++stripe) {
    accumulate(lanes, in + blocks * kBlockBytes + stripe * kStripeBytes, kSecret + stripe * 8);
  }
  accumulate(lanes, in + size - kStripeBytes, kSecret + kSecretBytes - kStripeBytes - 7);
  uint64_t values[8];
  std::memcpy(values, &lanes, sizeof values);
  return {merge(values, kSecret + 11, size * kPrime64_1),
          merge(values, kSecret + kSecretBytes - kStripeBytes - 11, ~(size * kPrime64_2))};
}

Halves hash_any(const uint8_t *in, uint64_t size) {
  if (size == 0) return hash_0();
  if (size <= 3) return hash_1_to_3(in, size);
  if (size <= 8) return hash_4_to_8(in, size);
  if (size <= 16) return hash_9_to_16(in, size);
  if (size <= 128) return hash_17_to_128(in, size);
  if (size <= 240) return hash_129_to_240(in, size);
  return hash_long(in, size);
}

}  // namespace

Digest128 hash128(const void *bytes, uint64_t size) {
  const Halves hash = hash_any(static_cast<const uint8_t *>(bytes), size);
  const uint64_t high = __builtin_bswap64(hash.high);
  const uint64_t low = __builtin_bswap64(hash.low);
  Digest128 digest;
  std::memcpy(digest.bytes, &high, 8);
  std::memcpy(digest.bytes + 8, &low, 8);
  return digest;
}

}  // namespace tileloom
