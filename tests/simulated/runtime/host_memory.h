// Pinned host memory, which copies access asynchronously.
#pragma once

#include "runtime/queue.h"

namespace simulated {

bool is_pinned(const void* address, std::uint64_t bytes);
void poison_host(const HostRange& range);

}  // namespace simulated
