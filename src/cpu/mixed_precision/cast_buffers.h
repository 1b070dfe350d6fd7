// Mixed precision on the CPU, the reference for the GPU's: bf16 views are cast to f32, the f32 primitive runs, and its
// outputs are rounded once. This saves neither memory nor time; it shows what bf16 does to a model.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "cpu/runtime/scratch.h"

namespace descent::cpu {

inline bool is_mixed(DType dtype) { return dtype == DType::bf16; }

// The f32 cast buffers of one call of a primitive. Empty views and views that are not bf16 are passed on unchanged.
class CastBuffers {
 public:
  ConstView read(ConstView v);
  // For an operand of a matrix product or convolution: f32 is rounded to bf16 too.
  ConstView operand(ConstView v);
  View write(View v);   // finish() rounds what was written into v
  View update(View v);  // the same, but initialized with v's elements
  Grad gradient(const Grad& g) { return {g.write == Write::accumulate ? update(g.view) : write(g.view), g.write}; }
  void finish();

 private:
  View place(const Shape& shape);

  struct Result {
    View wide, narrow;
  };
  std::vector<std::unique_ptr<Scratch<float>>> memory_;
  std::vector<Result> results_;
};

// The op groups that take activations, with mixed precision added: same interface, same object every time.
Elementwise* mixed(Elementwise* group);
Reduce* mixed(Reduce* group);
Gemm* mixed(Gemm* group);
Conv* mixed(Conv* group);
Pool* mixed(Pool* group);
Norm* mixed(Norm* group);
Random* mixed(Random* group);
Indexing* mixed(Indexing* group);

}  // namespace descent::cpu
