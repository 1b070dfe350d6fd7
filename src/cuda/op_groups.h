// Factories of the CUDA op groups: one object per device, defined in src/cuda/<group>.cu or .cpp.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace descent::gpu {

class Context;  // context.h

std::unique_ptr<Runtime> make_runtime(Context& context);
std::unique_ptr<Elementwise> make_elementwise(Context& context);
std::unique_ptr<Reduce> make_reduce(Context& context);
std::unique_ptr<Gemm> make_gemm(Context& context, Elementwise& elementwise, Reduce& reduce);
std::unique_ptr<Conv> make_conv(Context& context);
std::unique_ptr<Pool> make_pool(Context& context);
std::unique_ptr<Norm> make_norm(Context& context);
std::unique_ptr<Random> make_random(Context& context);
std::unique_ptr<Softmax> make_softmax(Context& context);
std::unique_ptr<Loss> make_loss(Context& context);
std::unique_ptr<Optim> make_optim(Context& context);
std::unique_ptr<Indexing> make_indexing(Context& context);

}  // namespace descent::gpu
