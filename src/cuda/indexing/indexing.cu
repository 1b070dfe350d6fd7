// Indexing on CUDA.
#include "cuda/indexing/indexing.cuh"

#include <limits>

#include "cuda/dispatch.h"
#include "cuda/indexing/cursor.cuh"
#include "cuda/op_groups.h"
#include "cuda/runtime/context.h"

namespace descent::gpu {

namespace {

class GpuIndexing final : public Indexing {
 public:
  explicit GpuIndexing(Context& context) : context_(context) {}

  void index_select(ConstView x, ConstView index, View y) override {
    Stream& stream = context_.stream();
    const std::int64_t count = index.numel();
    if (count == 0) return;
    const std::int64_t bytes = y.numel() / count * static_cast<std::int64_t>(size_of(x.dtype));
    gpu::index_select(stream, x.data, x.shape[0], index.as<std::int32_t>(), count, bytes, y.data);
  }

  void scatter_add_rows(ConstView dy, ConstView index, Grad dx) override {
    Stream& stream = context_.stream();
    if (!dx || dx.view.numel() == 0) return;
    const std::int64_t rows = dx.view.shape[0], width = dx.view.numel() / rows;
    for_storage(dy.dtype, [&]<class T>(T) {
      gpu::scatter_add_rows(stream, dy.as<T>(), index.as<std::int32_t>(), index.numel(), dx.view.as<T>(), rows, width,
                            dx.write);
    });
  }

  void one_hot(ConstView index, View y) override {
    Stream& stream = context_.stream();
    const std::int64_t count = index.numel();
    if (count == 0) return;
    for_any(y.dtype,
            [&]<class T>(T) { gpu::one_hot(stream, index.as<std::int32_t>(), count, y.numel() / count, y.as<T>()); });
  }

  void count_pairs(ConstView row, ConstView column, View counts) override {
    if (counts.numel() > std::numeric_limits<std::int32_t>::max()) {
      throw InvalidArgument("cuda: found " + std::to_string(counts.numel()) + " counts, expected at most 2147483647");
    }
    gpu::count_pairs(context_.stream(), row.as<std::int32_t>(), column.as<std::int32_t>(), column.numel(),
                     counts.as<std::int32_t>(), counts.shape[0], counts.shape[1]);
  }

  void gather_images(ConstView x, ConstView index, ConstView shift, ConstView scale, View y) override {
    Stream& stream = context_.stream();
    const std::int64_t count = index.numel();
    if (count == 0) return;
    for_storage(y.dtype, [&]<class T>(T) {
      gpu::gather_images(stream, x.as<std::uint8_t>(), x.shape[0], index.as<std::int32_t>(), count, y.numel() / count,
                         shift.as<float>(), scale.as<float>(), shift.numel(), y.as<T>());
    });
  }

  void copy_block(ConstView src, std::int64_t src_pitch, View dst, std::int64_t dst_pitch, std::int64_t rows,
                  std::int64_t width, Write write) override {
    Stream& stream = context_.stream();
    if (write == Write::overwrite) {
      const auto size = static_cast<std::int64_t>(size_of(dst.dtype));
      return gpu::copy_block(stream, src.data, src_pitch * size, dst.data, dst_pitch * size, rows, width * size);
    }
    for_storage(dst.dtype,
                [&]<class T>(T) { add_block(stream, src.as<T>(), src_pitch, dst.as<T>(), dst_pitch, rows, width); });
  }

  void next_rows(ConstView order, View position, View index) override {
    gpu::next_rows(context_.stream(), order.as<std::int32_t>(), order.numel(), position.as<std::int32_t>(),
                   index.as<std::int32_t>(), index.numel());
  }

  void store_next(ConstView x, View position, View slots) override {
    Stream& stream = context_.stream();
    for_storage(x.dtype, [&]<class T>(T) {
      gpu::store_next(stream, x.as<T>(), position.as<std::int32_t>(), slots.as<double>(), slots.numel());
    });
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Indexing> make_indexing(Context& context) { return std::make_unique<GpuIndexing>(context); }

}  // namespace descent::gpu
