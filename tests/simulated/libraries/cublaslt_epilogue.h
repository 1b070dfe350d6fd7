// cuBLASLt's epilogues: what it applies to a product before storing it.
#pragma once

#include <cublasLt.h>

#include <string>

#include "libraries/product.h"

namespace simulated {

// cublasLt.h, cublasLtEpilogue_t: each value is a combination of these bits, or BGRADA or BGRADB.
struct Epilogue {
  enum class Activation : std::uint8_t { none, relu, gelu, relu_gradient, gelu_gradient };
  enum class Sums : std::uint8_t { none, of_result, of_a, of_b };  // which sums the bias gradient holds

  Activation activation = Activation::none;
  bool bias = false;
  bool aux = false;  // writes or reads the auxiliary buffer
  Sums sums = Sums::none;

  bool is_gradient() const {
    return sums != Sums::none || activation == Activation::relu_gradient || activation == Activation::gelu_gradient;
  }
  bool is_relu() const { return activation == Activation::relu || activation == Activation::relu_gradient; }
  bool needs_bias_pointer() const { return bias || sums != Sums::none; }
};

// Returns false if cublasLtEpilogue_t does not define the number.
bool parse_epilogue(std::uint32_t number, Epilogue& epilogue);
std::string name_of_epilogue(std::uint32_t number);  // "RELU_AUX_BIAS"

struct EpilogueBuffers {
  void* bias = nullptr;  // [m]; BGRADB: [n]; of D's type
  std::int64_t bias_stride = 0;
  void* aux = nullptr;                      // ReLU: bits; GELU: its argument, in D's type. Column-major
  std::int64_t aux_ld = 0, aux_stride = 0;  // in bits or elements
};

// Applies the epilogue to sums [m x n] of matrix z, already scaled and added to C; the result is stored in D. Reads or
// writes the buffers. False after a fault.
bool apply_epilogue(const Epilogue& epilogue, const EpilogueBuffers& buffers, const Product& product, std::int64_t z,
                    std::vector<float>& sums, const std::string& who);

}  // namespace simulated
