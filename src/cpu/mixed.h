// Mixed precision on the CPU, the reference for the GPU's: bf16 views are widened to f32, the f32 primitive runs, and
// what it wrote is rounded once. It costs memory and time, and saves neither: it shows what bf16 does to a model.
#pragma once

#include <memory>
#include <vector>

#include "backend.h"
#include "cpu/scratch.h"

namespace descent::cpu {

inline bool is_mixed(DType dtype) { return dtype == DType::bf16; }

// The f32 views of one call of a primitive. Views that are not bf16, and empty ones, are passed on as they are.
class Widened {
 public:
  ConstView read(ConstView v);
  // An operand of a matrix product or convolution: f32 is rounded to bf16.
  ConstView operand(ConstView v);
  View write(View v);   // finish() rounds what was written there into v
  View update(View v);  // the same; it holds v's elements before
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

// The families that take activations, with mixed precision added: same contract, same object every time.
Elementwise* mixed(Elementwise* family);
Reduce* mixed(Reduce* family);
Linalg* mixed(Linalg* family);
Conv* mixed(Conv* family);
Pool* mixed(Pool* family);
Norm* mixed(Norm* family);
Random* mixed(Random* family);
Index* mixed(Index* family);

}  // namespace descent::cpu
