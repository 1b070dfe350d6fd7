// The op groups with mixed precision added: bf16 views are replaced by f32 cast buffers before the primitive runs.
#include <cstdint>

#include "cpu/dispatch.h"
#include "cpu/mixed_precision/cast_buffers.h"

namespace descent::cpu {
namespace {

// One object per op group, created at its first use and never destroyed: static objects may compute at exit.
template <class Mixed, class Group>
Group* made_once(Group* group) {
  static auto* const made = new Mixed(*group);
  return made;
}

class MixedElementwise final : public Elementwise {
 public:
  explicit MixedElementwise(Elementwise& inner) : inner_(inner) {}

  void fill(View y, double value) override { inner_.fill(y, value); }
  void convert(ConstView x, View y) override { inner_.convert(x, y); }
  void unary(Unary op, double a, double b, ConstView x, View y) override {
    if (!is_mixed(x.dtype)) return inner_.unary(op, a, b, x, y);
    CastBuffers w;
    inner_.unary(op, a, b, w.read(x), w.write(y));
    w.finish();
  }
  void unary_backward(Unary op, double a, double b, ConstView x, ConstView y, ConstView dy, Grad dx) override {
    if (!is_mixed(dy.dtype)) return inner_.unary_backward(op, a, b, x, y, dy, dx);
    CastBuffers w;
    inner_.unary_backward(op, a, b, w.read(x), w.read(y), w.read(dy), w.gradient(dx));
    w.finish();
  }
  void binary(Binary op, ConstView a, ConstView b, View y, Write write) override {
    if (!is_mixed(y.dtype)) return inner_.binary(op, a, b, y, write);
    CastBuffers w;
    inner_.binary(op, w.read(a), w.read(b), w.gradient({y, write}).view, write);
    w.finish();
  }
  void axpby(double alpha, ConstView x, double beta, View y) override {
    if (!is_mixed(y.dtype)) return inner_.axpby(alpha, x, beta, y);
    CastBuffers w;
    inner_.axpby(alpha, w.read(x), beta, beta == 0 ? w.write(y) : w.update(y));
    w.finish();
  }
  void scale_by(View x, ConstView factor) override {
    if (!is_mixed(x.dtype) && !is_mixed(factor.dtype)) return inner_.scale_by(x, factor);
    CastBuffers w;
    inner_.scale_by(w.update(x), w.read(factor));
    w.finish();
  }

 private:
  Elementwise& inner_;
};

class MixedReduce final : public Reduce {
 public:
  explicit MixedReduce(Reduce& inner) : inner_(inner) {}

  void reduce(ReduceOp op, ConstView x, std::int64_t outer, std::int64_t n, std::int64_t inner, Grad y) override {
    if (!is_mixed(x.dtype)) return inner_.reduce(op, x, outer, n, inner, y);
    CastBuffers w;
    inner_.reduce(op, w.read(x), outer, n, inner, w.gradient(y));
    w.finish();
  }
  void max_backward(ConstView x, ConstView y, ConstView dy, std::int64_t outer, std::int64_t n, std::int64_t inner,
                    Grad dx) override {
    if (!is_mixed(x.dtype)) return inner_.max_backward(x, y, dy, outer, n, inner, dx);
    CastBuffers w;
    inner_.max_backward(w.read(x), w.read(y), w.read(dy), outer, n, inner, w.gradient(dx));
    w.finish();
  }
  void sum_to(ConstView x, Grad y) override {
    if (!is_mixed(x.dtype)) return inner_.sum_to(x, y);
    CastBuffers w;
    inner_.sum_to(w.read(x), w.gradient(y));
    w.finish();
  }
  void argmax_rows(ConstView x, View y) override { inner_.argmax_rows(CastBuffers().read(x), y); }
  void top_k(ConstView x, View values, View indices) override {
    CastBuffers w;
    inner_.top_k(w.read(x), w.write(values), indices);
    w.finish();
  }
  void sum_of_squares(ConstView x, View y) override { inner_.sum_of_squares(CastBuffers().read(x), y); }

 private:
  Reduce& inner_;
};

class MixedGemm final : public Gemm {
 public:
  explicit MixedGemm(Gemm& inner) : inner_(inner) {}

  void gemm(const GemmDesc& gemm, ConstView a, ConstView b, ConstView bias, View c, View aux) override {
    if (!is_mixed(a.dtype) && !is_mixed(b.dtype)) return inner_.gemm(gemm, a, b, bias, c, aux);
    CastBuffers w;
    inner_.gemm(gemm, w.operand(a), w.operand(b), bias, gemm.beta == 0 ? w.write(c) : w.update(c), w.write(aux));
    w.finish();
  }
  AuxSpec aux(Activation activation, DType dtype, std::int64_t rows, std::int64_t n) const override {
    return inner_.aux(activation, dtype, rows, n);
  }
  void gemm_dact_bgrad(const GemmDesc& gemm, ConstView a, ConstView b, ConstView y, ConstView aux, View c,
                       Grad sums) override {
    if (!is_mixed(a.dtype) && !is_mixed(b.dtype)) return inner_.gemm_dact_bgrad(gemm, a, b, y, aux, c, sums);
    CastBuffers w;
    inner_.gemm_dact_bgrad(gemm, w.operand(a), w.operand(b), w.read(y), w.read(aux), w.write(c), w.gradient(sums));
    w.finish();
  }
  void gemm_bgrad(const GemmDesc& gemm, ConstView a, ConstView b, View c, Grad sums) override {
    if (!is_mixed(a.dtype) && !is_mixed(b.dtype)) return inner_.gemm_bgrad(gemm, a, b, c, sums);
    CastBuffers w;
    inner_.gemm_bgrad(gemm, w.operand(a), w.operand(b), gemm.beta == 0 ? w.write(c) : w.update(c), w.gradient(sums));
    w.finish();
  }

 private:
  Gemm& inner_;
};

class MixedConv final : public Conv {
 public:
  explicit MixedConv(Conv& inner) : inner_(inner) {}

  void forward(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView bias, const Epilogue& epilogue, View y,
               View aux) override {
    if (!is_mixed(x.dtype)) return inner_.forward(g, x, w, bias, epilogue, y, aux);
    CastBuffers wide;
    inner_.forward(g, wide.read(x), wide.operand(w), bias, epilogue, wide.write(y), aux);
    wide.finish();
  }
  void backward_data(const Conv2dFuncOptions& g, ConstView dy, ConstView w, Grad dx) override {
    if (!is_mixed(dy.dtype)) return inner_.backward_data(g, dy, w, dx);
    CastBuffers wide;
    inner_.backward_data(g, wide.read(dy), wide.operand(w), wide.gradient(dx));
    wide.finish();
  }
  void backward_filter(const Conv2dFuncOptions& g, ConstView x, ConstView dy, Grad dw) override {
    if (!is_mixed(x.dtype)) return inner_.backward_filter(g, x, dy, dw);
    CastBuffers wide;
    inner_.backward_filter(g, wide.read(x), wide.read(dy), dw);
  }
  void backward_pooled(const Conv2dFuncOptions& g, ConstView x, ConstView w, ConstView dy, ConstView aux, Grad dx,
                       Grad dw, Grad dbias) override {
    if (!is_mixed(x.dtype)) return inner_.backward_pooled(g, x, w, dy, aux, dx, dw, dbias);
    CastBuffers wide;
    inner_.backward_pooled(g, wide.read(x), wide.operand(w), wide.read(dy), aux, wide.gradient(dx), dw, dbias);
    wide.finish();
  }

 private:
  Conv& inner_;
};

class MixedPool final : public Pool {
 public:
  explicit MixedPool(Pool& inner) : inner_(inner) {}

  AuxSpec max_aux(const Pool2dOptions& g, const Shape& y, DType dtype) const override {
    return inner_.max_aux(g, y, dtype);
  }
  void max_forward(const Pool2dOptions& g, ConstView x, View y, View code) override {
    if (!is_mixed(x.dtype)) return inner_.max_forward(g, x, y, code);
    CastBuffers w;
    inner_.max_forward(g, w.read(x), w.write(y), code);
    w.finish();
  }
  void max_backward(const Pool2dOptions& g, ConstView dy, ConstView code, Grad dx) override {
    if (!is_mixed(dy.dtype)) return inner_.max_backward(g, dy, code, dx);
    CastBuffers w;
    inner_.max_backward(g, w.read(dy), code, w.gradient(dx));
    w.finish();
  }
  void average_forward(const Pool2dOptions& g, ConstView x, View y) override {
    if (!is_mixed(x.dtype)) return inner_.average_forward(g, x, y);
    CastBuffers w;
    inner_.average_forward(g, w.read(x), w.write(y));
    w.finish();
  }
  void average_backward(const Pool2dOptions& g, ConstView dy, Grad dx) override {
    if (!is_mixed(dy.dtype)) return inner_.average_backward(g, dy, dx);
    CastBuffers w;
    inner_.average_backward(g, w.read(dy), w.gradient(dx));
    w.finish();
  }
  void global_average_forward(ConstView x, View y) override {
    if (!is_mixed(x.dtype)) return inner_.global_average_forward(x, y);
    CastBuffers w;
    inner_.global_average_forward(w.read(x), w.write(y));
    w.finish();
  }
  void global_average_backward(ConstView dy, Grad dx) override {
    if (!is_mixed(dy.dtype)) return inner_.global_average_backward(dy, dx);
    CastBuffers w;
    inner_.global_average_backward(w.read(dy), w.gradient(dx));
    w.finish();
  }

 private:
  Pool& inner_;
};

class MixedNorm final : public Norm {
 public:
  explicit MixedNorm(Norm& inner) : inner_(inner) {}

  void batch_train(const BatchNormState& s, ConstView x, const Epilogue& epilogue, View y, View mean, View inv_std,
                   View aux) override {
    CastBuffers w;  // passes f32 and f64 through unchanged
    inner_.batch_train(s, w.read(x), epilogue, w.write(y), mean, inv_std, aux);
    w.finish();
  }
  void batch_eval(const BatchNormState& s, ConstView x, Activation activation, View y) override {
    if (!is_mixed(x.dtype)) return inner_.batch_eval(s, x, activation, y);
    CastBuffers w;
    inner_.batch_eval(s, w.read(x), activation, w.write(y));
    w.finish();
  }
  void batch_backward(bool training, const Epilogue& epilogue, ConstView x, ConstView saved, ConstView dy,
                      ConstView gamma, ConstView mean, ConstView inv_std, Grad dx, Grad dgamma, Grad dbeta) override {
    CastBuffers w;
    inner_.batch_backward(training, epilogue, w.read(x), w.read(saved), w.read(dy), gamma, mean, inv_std,
                          w.gradient(dx), dgamma, dbeta);
    w.finish();
  }
  void layer(ConstView x, ConstView gamma, ConstView beta, double eps, View y, View mean, View inv_std) override {
    CastBuffers w;
    inner_.layer(w.read(x), gamma, beta, eps, w.write(y), mean, inv_std);
    w.finish();
  }
  void layer_backward(ConstView x, ConstView dy, ConstView gamma, ConstView mean, ConstView inv_std, Grad dx,
                      Grad dgamma, Grad dbeta) override {
    CastBuffers w;
    inner_.layer_backward(w.read(x), w.read(dy), gamma, mean, inv_std, w.gradient(dx), dgamma, dbeta);
    w.finish();
  }

 private:
  Norm& inner_;
};

class MixedRandom final : public Random {
 public:
  explicit MixedRandom(Random& inner) : inner_(inner) {}

  void uniform(const RandomKey& key, double low, double high, View y) override {
    CastBuffers w;
    inner_.uniform(key, low, high, w.write(y));
    w.finish();
  }
  void normal(const RandomKey& key, double mean, double std, View y) override {
    CastBuffers w;
    inner_.normal(key, mean, std, w.write(y));
    w.finish();
  }
  void dropout(const RandomKey& key, double p, ConstView x, Grad y) override {
    CastBuffers w;
    inner_.dropout(key, p, w.read(x), w.gradient(y));
    w.finish();
  }
  void permutation(const RandomKey& key, View y) override { inner_.permutation(key, y); }
  void advance(View call) override { inner_.advance(call); }

 private:
  Random& inner_;
};

class MixedIndexing final : public Indexing {
 public:
  explicit MixedIndexing(Indexing& inner) : inner_(inner) {}

  void index_select(ConstView x, ConstView index, View y) override { inner_.index_select(x, index, y); }
  void scatter_add_rows(ConstView dy, ConstView index, Grad dx) override {
    CastBuffers w;
    inner_.scatter_add_rows(w.read(dy), index, w.gradient(dx));
    w.finish();
  }
  void one_hot(ConstView index, View y) override { inner_.one_hot(index, y); }
  void count_pairs(ConstView row, ConstView column, View counts) override { inner_.count_pairs(row, column, counts); }
  void gather_images(ConstView x, ConstView index, ConstView shift, ConstView scale, View y) override {
    CastBuffers w;
    inner_.gather_images(x, index, shift, scale, w.write(y));
    w.finish();
  }
  void copy_block(ConstView src, std::int64_t src_pitch, View dst, std::int64_t dst_pitch, std::int64_t rows,
                  std::int64_t width, Write write) override {
    if (!is_mixed(dst.dtype) || write == Write::overwrite) {
      return inner_.copy_block(src, src_pitch, dst, dst_pitch, rows, width, write);
    }
    const auto* from = src.as<Bf16>();  // no cast buffer: finish() would also write the gaps between dst's rows
    auto* to = dst.as<Bf16>();
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < width; ++i) {
        Bf16& place = to[r * dst_pitch + i];
        place = Bf16(static_cast<float>(place) + static_cast<float>(from[r * src_pitch + i]));
      }
    }
  }
  void next_rows(ConstView order, View position, View index) override { inner_.next_rows(order, position, index); }
  void store_next(ConstView x, View position, View slots) override { inner_.store_next(x, position, slots); }

 private:
  Indexing& inner_;
};

}  // namespace

Elementwise* mixed(Elementwise* group) { return made_once<MixedElementwise>(group); }
Reduce* mixed(Reduce* group) { return made_once<MixedReduce>(group); }
Gemm* mixed(Gemm* group) { return made_once<MixedGemm>(group); }
Conv* mixed(Conv* group) { return made_once<MixedConv>(group); }
Pool* mixed(Pool* group) { return made_once<MixedPool>(group); }
Norm* mixed(Norm* group) { return made_once<MixedNorm>(group); }
Random* mixed(Random* group) { return made_once<MixedRandom>(group); }
Indexing* mixed(Indexing* group) { return made_once<MixedIndexing>(group); }

}  // namespace descent::cpu
