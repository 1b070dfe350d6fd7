// Creates graphs from captured nodes, which are in an order that their edges allow.
#pragma once

#include "runtime/queue.h"

namespace simulated {

cudaGraph_t new_graph(Nodes nodes);

}  // namespace simulated
