// Sorting and counting: Thrust for whole algorithms, CUB if the number of key bits matters. With Thrust's policy
// par_nosync, none of the algorithms used here waits for the stream (sort_by_key and sort are CUB's radix sort and a
// copy within the device; for_each_n and upper_bound are one kernel). Add none that does: an algorithm that returns a
// value or the end of a range (reduce, unique, reduce_by_key, copy_if) has to read it.
#include "cuda/sort.h"

#include <thrust/binary_search.h>
#include <thrust/execution_policy.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/sort.h>
#include <thrust/system_error.h>

#include <cstddef>
#include <cub/device/device_radix_sort.cuh>
#include <limits>
#include <string>

#include "cuda/runtime/check.h"
#include "descent/error.h"

namespace descent::gpu {
namespace {

void check_count(std::int64_t n) {
  if (n <= std::numeric_limits<std::int32_t>::max()) return;
  throw InvalidArgument("cuda: found " + std::to_string(n) + " elements to sort, expected at most 2147483647");
}

// Thrust's temporary storage. Freed memory may be reused at once: work of its next owner is queued after Thrust's.
struct StreamMemory {
  using value_type = char;
  Stream* stream;
  char* allocate(std::ptrdiff_t bytes) { return static_cast<char*>(stream->allocate(static_cast<std::size_t>(bytes))); }
  void deallocate(char* data, std::size_t bytes) noexcept { stream->free(data, bytes); }
};

// Calls run(policy); Thrust's own exceptions become DeviceError.
template <class F>
void with_thrust(Stream& stream, const char* name, const F& run) {
  StreamMemory memory{&stream};
  try {
    run(thrust::cuda::par_nosync(memory).on(stream.handle));
  } catch (const thrust::system_error& error) {
    check(static_cast<cudaError_t>(error.code().value()), name);
    throw DeviceError(std::string("cuda: ") + name + ": " + error.what());
  }
}

// The length of run k is its end minus the end of the run before it.
struct AddRunLength {
  const std::int32_t* ends;
  std::int32_t* counts;
  __device__ void operator()(std::int32_t k) const { counts[k] += ends[k] - (k == 0 ? 0 : ends[k - 1]); }
};

}  // namespace

void sort_pairs(Stream& stream, std::int64_t n, int bits, const std::uint32_t* keys, std::uint32_t* sorted_keys,
                const std::int32_t* values, std::int32_t* sorted_values) {
  check_count(n);
  const auto sort = [&](void* temporary, std::size_t& bytes) {
    // n stays 64 bits wide, so that the kernels are the same instances as those of Thrust's sort.
    check(cub::DeviceRadixSort::SortPairs(temporary, bytes, keys, sorted_keys, values, sorted_values, n, 0, bits,
                                          stream.handle),
          "cub::DeviceRadixSort::SortPairs");
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);  // queries the size of the temporary storage
  const Scratch<unsigned char> temporary(stream, static_cast<std::int64_t>(bytes));
  sort(temporary.data(), bytes);
}

void sort_by_key(Stream& stream, std::int64_t n, std::uint32_t* keys, std::int32_t* values) {
  check_count(n);
  with_thrust(stream, "thrust::stable_sort_by_key", [&](const auto& policy) {
    thrust::stable_sort_by_key(policy, keys, keys + static_cast<std::int32_t>(n), values);
  });
}

void add_counts(Stream& stream, std::int64_t n, std::uint32_t* keys, std::int64_t cells, std::int32_t* counts) {
  check_count(n);
  check_count(cells);
  const Scratch<std::int32_t> ends(stream, cells);
  with_thrust(stream, "thrust::sort", [&](const auto& policy) { thrust::sort(policy, keys, keys + n); });
  const thrust::counting_iterator<std::uint32_t> first_key(0);
  with_thrust(stream, "thrust::upper_bound", [&](const auto& policy) {
    thrust::upper_bound(policy, keys, keys + n, first_key, first_key + static_cast<std::uint32_t>(cells), ends.data());
  });
  const thrust::counting_iterator<std::int32_t> first(0);
  with_thrust(stream, "thrust::for_each_n", [&](const auto& policy) {
    thrust::for_each_n(policy, first, cells, AddRunLength{ends.data(), counts});
  });
}

}  // namespace descent::gpu
