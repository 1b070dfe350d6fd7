// Computes matrix products, optionally with split k.
#include "libraries/product.h"

#include "libraries/gemm.h"
#include "libraries/steps.h"

namespace simulated {
namespace {

std::uint64_t bytes_of(const Matrix& matrix) {
  return static_cast<std::uint64_t>(matrix.count()) * size_of(matrix.type);
}

void round_to_tf32(std::vector<float>& values) {
  for (float& value : values) value = to_tf32(value);
}
void round_to_tf32(std::vector<double>&) {}  // f64 products have no such mode

template <class T>
void round_to(cudaDataType type, std::vector<T>& values) {
  if (type != CUDA_R_16BF) return;
  for (T& value : values) value = static_cast<T>(round_bits(static_cast<float>(value), 16));
}

// All partial sums, for each matrix of the batch and each part of k. Empty after a fault.
template <class T>
std::vector<T> partial_sums(const Product& product, const std::string& who) {
  const auto count = static_cast<std::size_t>(product.count());
  std::vector<T> all;
  all.reserve(count * static_cast<std::size_t>(product.batch * product.splits));
  for (std::int64_t z = 0; z < product.batch; ++z) {
    std::vector<T> a = load_a<T>(product, z, who), b = load_b<T>(product, z, who);
    if (product.k > 0 && (a.empty() || b.empty())) return {};
    if (product.tf32) {
      round_to_tf32(a);
      round_to_tf32(b);
    }
    for (std::int64_t part = 0; part < product.splits; ++part) {
      const std::int64_t begin = product.k * part / product.splits, end = product.k * (part + 1) / product.splits;
      std::vector<T> sums(count);
      multiply_add(product.m, product.n, end - begin, a.data() + begin * product.m, b.data() + begin, product.k,
                   sums.data());
      if (product.round_partial_sums) round_to(product.d.type, sums);
      all.insert(all.end(), sums.begin(), sums.end());
    }
  }
  return all;
}

template <class T>
void finish_all(const Product& product, const std::vector<T>& partial, const Finish<T>& finish) {
  const auto count = static_cast<std::size_t>(product.count());
  auto from = partial.begin();
  for (std::int64_t z = 0; z < product.batch; ++z) {
    std::vector<T> sums(from, from + static_cast<std::ptrdiff_t>(count));
    from += static_cast<std::ptrdiff_t>(count);
    for (std::int64_t part = 1; part < product.splits; ++part) {
      for (std::size_t i = 0; i < count; ++i) sums[i] += *from++;
      if (product.round_partial_sums) round_to(product.d.type, sums);
    }
    if (!finish(z, sums)) return;
  }
}

}  // namespace

std::uint64_t Product::bytes() const {
  const std::uint64_t one = bytes_of(a) + bytes_of(b) + bytes_of(d) + (beta != 0 ? bytes_of(c) : 0);
  return one * static_cast<std::uint64_t>(batch);
}

template <class T>
std::vector<T> load_a(const Product& product, std::int64_t z, const std::string& who) {
  return load<T>(product.a, z, product.transpose_a, who + ": A");
}
template <class T>
std::vector<T> load_b(const Product& product, std::int64_t z, const std::string& who) {
  return load<T>(product.b, z, product.transpose_b, who + ": B");
}
template std::vector<float> load_a(const Product&, std::int64_t, const std::string&);
template std::vector<float> load_b(const Product&, std::int64_t, const std::string&);

template <class T>
cudaError_t enqueue_product(cudaStream_t stream, const std::string& name, const Product& product,
                            const Workspace& workspace, Finish<T> finish) {
  const auto count = [](Work& work, const Product& of) {
    work.flops = of.flops();
    if (std::is_same_v<T, double>) work.flops_f64 = work.flops;
    work.bytes = of.bytes();
  };
  if (workspace.bytes == 0) {
    return enqueue(stream, {WorkKind::library, name, [=](Work& work) {
                              count(work, product);
                              const std::vector<T> partial = partial_sums<T>(product, name);
                              if (!partial.empty()) finish_all(product, partial, finish);
                            }});
  }
  const std::string in_workspace = name + ": workspace";
  const auto first = [=](Work& work) {
    count(work, product);
    const std::vector<T> partial = partial_sums<T>(product, name);
    return !partial.empty() && write_workspace(workspace, partial, in_workspace);
  };
  const auto second = [=] {
    const auto partial = read_workspace<T>(workspace, partial_sum_bytes<T>(product) / sizeof(T), in_workspace);
    if (!partial.empty()) finish_all(product, partial, finish);
  };
  return enqueue_steps(stream, {name, first, second});
}

template cudaError_t enqueue_product(cudaStream_t, const std::string&, const Product&, const Workspace&, Finish<float>);
template cudaError_t enqueue_product(cudaStream_t, const std::string&, const Product&, const Workspace&,
                                     Finish<double>);

template <class T>
bool scale_and_add(const Product& product, std::int64_t z, std::vector<T>& sums, const std::string& who) {
  const T alpha = static_cast<T>(product.alpha), beta = static_cast<T>(product.beta);
  for (T& sum : sums) sum *= alpha;
  if (product.beta == 0) return true;
  const std::vector<T> c = load<T>(product.c, z, false, who + ": C");
  if (c.empty()) return false;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += beta * c[i];
  return true;
}
template bool scale_and_add(const Product&, std::int64_t, std::vector<float>&, const std::string&);
template bool scale_and_add(const Product&, std::int64_t, std::vector<double>&, const std::string&);

}  // namespace simulated
