// A graph's nodes, in an order that its edges allow.
#pragma once

#include "runtime/queue.h"

namespace simulated {

cudaGraph_t new_graph(Nodes nodes);

}  // namespace simulated
