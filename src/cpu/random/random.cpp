// Random numbers by element: the draw of element i depends only on the key and on i, never on pieces or
// threads. Words come from the vectorized Philox, in runs that fit into the L1 cache; the reference
// implementation uses philox.h directly.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/philox.h"
#include "cpu/dispatch.h"
#include "cpu/op_groups.h"
#include "cpu/random/kernels.h"
#include "cpu/runtime/scratch.h"
#include "cpu/runtime/thread_pool.h"

namespace descent::cpu {
namespace {

constexpr std::int64_t kRun = 1024;        // words drawn at once
constexpr std::int64_t kPiece = 8 * kRun;  // elements of a task

PhiloxCall read_call(const RandomKey& key) {
  return {key.seed, key.stream, static_cast<std::uint32_t>(*key.call.as<std::int32_t>())};
}

// The words of the blocks that hold elements [begin, begin + n); begin is a multiple of 4.
void draw(const PhiloxCall& call, std::int64_t begin, std::int64_t n, std::uint32_t* out) {
  const std::uint64_t first = static_cast<std::uint64_t>(begin) / 4;
  const std::int64_t blocks = (n + 3) / 4;
  if (!reference_only()) return random_kernels().words(call, first, blocks, out);
  for (std::int64_t b = 0; b < blocks; ++b) {
    const philox::Block block = philox::block(call.seed, call.stream, call.call, first + static_cast<std::uint64_t>(b));
    std::memcpy(out + 4 * b, block.word, sizeof block.word);
  }
}

// Calls f(begin, count, words) for runs of at most kRun elements that cover [0, n).
template <class F>
void for_runs(const RandomKey& key, std::int64_t n, const F& f) {
  if (n == 0) return;
  const PhiloxCall call = read_call(key);
  parallel_pieces(n, kPiece, [&](std::int64_t begin, std::int64_t end) {
    alignas(64) std::array<std::uint32_t, kRun> words;
    for (std::int64_t at = begin; at < end; at += kRun) {
      const std::int64_t count = std::min(kRun, end - at);
      draw(call, at, count, words.data());
      f(at, count, words.data());
    }
  });
}

template <class T>
void dropout_run(const std::uint32_t* word, std::uint32_t threshold, double scale, const T* x, T* y, std::int64_t n) {
  const T by = static_cast<T>(scale);
  if (reference_only()) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = (word[i] >> 8) >= threshold ? x[i] * by : T(0);
  } else if constexpr (sizeof(T) == sizeof(float)) {
    random_kernels().dropout_f32(word, threshold, by, x, y, n);
  } else {
    random_kernels().dropout_f64(word, threshold, by, x, y, n);
  }
}

// Stable radix sort by the upper half of each entry, eight bits per pass. The result is in `entries`.
void sort_by_word(std::uint64_t* entries, std::uint64_t* other, std::int64_t n) {
  for (int shift = 32; shift < 64; shift += 8) {
    std::array<std::int64_t, 256> start{};
    for (std::int64_t i = 0; i < n; ++i) ++start[(entries[i] >> shift) & 0xFFU];
    std::int64_t sum = 0;
    for (std::int64_t& s : start) sum += std::exchange(s, sum);
    for (std::int64_t i = 0; i < n; ++i) other[start[(entries[i] >> shift) & 0xFFU]++] = entries[i];
    std::swap(entries, other);  // an even number of times
  }
}

class CpuRandom final : public Random {
 public:
  void uniform(const RandomKey& key, double low, double high, View y) override {
    for_floating(y.dtype, [&]<class T>(T) {
      for_runs(key, y.numel(), [&, to = y.as<T>()](std::int64_t begin, std::int64_t count, const std::uint32_t* word) {
        for (std::int64_t i = 0; i < count; ++i) {
          to[begin + i] = static_cast<T>(low + (high - low) * philox::uniform<double>(word[i]));
        }
      });
    });
  }

  void normal(const RandomKey& key, double mean, double std, View y) override {
    for_floating(y.dtype, [&]<class T>(T) {
      for_runs(key, y.numel(), [&, to = y.as<T>()](std::int64_t begin, std::int64_t count, const std::uint32_t* word) {
        for (std::int64_t i = 0; i < count; i += 2) {
          double first = 0, second = 0;
          philox::normal_pair(word[i], word[i + 1], first, second);
          to[begin + i] = static_cast<T>(mean + std * first);
          if (i + 1 < count) to[begin + i + 1] = static_cast<T>(mean + std * second);
        }
      });
    });
  }

  void dropout(const RandomKey& key, double p, ConstView x, Grad y) override {
    if (!y) return;
    // The uniform number is word / 256 in units of 2^-24: comparing integers is exactly the comparison with p in f64.
    const auto threshold = static_cast<std::uint32_t>(std::ceil(p * 16777216.0));
    const double scale = 1.0 / (1.0 - p);
    for_floating(x.dtype, [&]<class T>(T) {
      const T* const from = x.as<T>();
      T* const to = y.view.as<T>();
      for_runs(key, x.numel(), [&](std::int64_t begin, std::int64_t count, const std::uint32_t* word) {
        if (y.write == Write::overwrite) {
          dropout_run(word, threshold, scale, from + begin, to + begin, count);
          return;
        }
        std::array<T, kRun> kept;
        dropout_run(word, threshold, scale, from + begin, kept.data(), count);
        for (std::int64_t i = 0; i < count; ++i) to[begin + i] += kept[static_cast<std::size_t>(i)];
      });
    });
  }

  void permutation(const RandomKey& key, View y) override {
    const std::int64_t n = y.numel();
    const Scratch<std::uint64_t> entries(n), other(n);
    for_runs(key, n, [&](std::int64_t begin, std::int64_t count, const std::uint32_t* word) {
      for (std::int64_t i = 0; i < count; ++i) {
        entries[begin + i] = static_cast<std::uint64_t>(word[i]) << 32 | static_cast<std::uint64_t>(begin + i);
      }
    });
    sort_by_word(entries.data(), other.data(), n);
    for (std::int64_t i = 0; i < n; ++i) y.as<std::int32_t>()[i] = static_cast<std::int32_t>(entries[i] & 0x7FFFFFFFU);
  }

  void advance(View call) override {
    std::int32_t& number = *call.as<std::int32_t>();
    number = static_cast<std::int32_t>(static_cast<std::uint32_t>(number) + 1U);
  }
};

}  // namespace

Random* random_ops() {
  static CpuRandom* const group = new CpuRandom;
  return group;
}

}  // namespace descent::cpu
