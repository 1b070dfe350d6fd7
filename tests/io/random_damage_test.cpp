// Random damage to valid files: a reader may refuse or accept them, but throws only our own errors and uses no more
// memory than the rules allow.
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <ostream>

#include "support/bad_files.h"

namespace descent::test {
namespace {

struct Good {
  std::string name;
  Format format;
  Bytes bytes;
};
void PrintTo(const Good& good, std::ostream* out) { *out << good.name; }

Bytes damaged(Bytes bytes, Scramble& scramble) {
  for (std::size_t edits = 1 + scramble.below(4); edits > 0 && !bytes.empty(); --edits) {
    const std::size_t at = scramble.below(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (scramble.below(6)) {
      case 0:
        *place ^= static_cast<std::byte>(1U << scramble.below(8));
        break;
      case 1:
        *place = static_cast<std::byte>(scramble.below(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(place, static_cast<std::byte>(scramble.below(256)));
        break;
      case 4:
        bytes.erase(place,
                    bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at + 1 + scramble.below(8), bytes.size())));
        break;
      default: {  // copies a piece of the file elsewhere
        const std::size_t from = scramble.below(bytes.size());
        const std::size_t count = std::min(scramble.below(16), bytes.size() - std::max(at, from));
        std::memmove(bytes.data() + at, bytes.data() + from, count);
      }
    }
  }
  return bytes;
}

long peak_kib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// AddressSanitizer holds freed memory for a while: 256 MiB by default.
#if defined(DESCENT_ADDRESS_SANITIZER)
constexpr long kMostKib = (64 + 256) * 1024;
#else
constexpr long kMostKib = 64 * 1024;
#endif

class RandomDamage : public testing::TestWithParam<Good> {};

TEST_P(RandomDamage, OnlyOurErrorsAndBoundedMemory) {
  read(GetParam().format, GetParam().bytes);
  const long before = peak_kib();
  Scramble scramble(17);
  int refused = 0;
  constexpr int kRounds = 4000;
  for (int round = 0; round < kRounds; ++round) {
    const Bytes bytes = damaged(GetParam().bytes, scramble);
    try {
      read(GetParam().format, bytes);
    } catch (const FormatError& error) {
      ++refused;
      ASSERT_LE(std::strlen(error.what()), 400U);
    } catch (const OutOfMemory&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, kRounds / 4);
  EXPECT_LT(peak_kib() - before, kMostKib);
}

// A file that we saved with checksums is never read as anything but its original content, however it is damaged. In
// particular, damage never makes it look like another program's file, whose checksums are ignored.
TEST(RandomDamageOfOurs, IsRefusedOrMeansTheSame) {
  const Bytes good = good_safetensors();
  const io::TensorFile original = io::decode_tensors(good, "good");
  const auto bits = [](const io::TensorFile& file) {
    io::SaveOptions plain;
    plain.checksums = false;
    return io::encode_tensors(file, plain);
  };
  const Bytes expected = bits(original);
  Scramble scramble(23);
  int refused = 0;
  constexpr int kRounds = 20'000;
  for (int round = 0; round < kRounds; ++round) {
    const Bytes bytes = damaged(good, scramble);
    try {
      ASSERT_EQ(bits(io::decode_tensors(bytes, "damaged")), expected) << round;
    } catch (const FormatError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, kRounds * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Readers, RandomDamage,
                         testing::Values(Good{"idx", Format::idx, good_idx()}, Good{"gzip", Format::idx, good_gz()},
                                         Good{"safetensors", Format::safetensors, good_safetensors()},
                                         Good{"png", Format::png, good_png()},
                                         Good{"json", Format::json, bytes_of(kGoodJson)},
                                         Good{"normalization", Format::normalization, bytes_of(kGoodNormalization)}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace descent::test
