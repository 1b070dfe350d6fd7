// Graphs, which are only created by capture. Source: CUDA Runtime API, "Graph Management".
#include <algorithm>
#include <set>

#include "runtime/api.h"
#include "runtime/graph.h"

struct CUgraph_st {
  simulated::Nodes nodes;
};

struct CUgraphExec_st {
  simulated::Nodes nodes;
  std::shared_ptr<simulated::Operation> last;  // the last launch
};

namespace simulated {
namespace {

std::set<const void*>& live_graphs() {  // also executable graphs
  static std::set<const void*>& live = *new std::set<const void*>;
  return live;
}

bool is_live(const void* handle) { return live_graphs().contains(handle); }

}  // namespace

cudaGraph_t new_graph(Nodes nodes) {
  auto* const graph = new CUgraph_st{std::move(nodes)};
  live_graphs().insert(graph);
  return graph;
}

std::size_t nodes_of_graph(const void* graph_exec) {
  const std::lock_guard lock(device_mutex());
  return is_live(graph_exec) ? static_cast<const CUgraphExec_st*>(graph_exec)->nodes.size() : 0;
}

std::size_t nodes_of_graph(const void* graph_exec, WorkKind kind) {
  const std::lock_guard lock(device_mutex());
  if (!is_live(graph_exec)) return 0;
  const Nodes& nodes = static_cast<const CUgraphExec_st*>(graph_exec)->nodes;
  return static_cast<std::size_t>(
      std::count_if(nodes.begin(), nodes.end(), [&](const auto& node) { return node->task.kind == kind; }));
}

}  // namespace simulated

using namespace simulated;

// The flags only select where the graph is stored and launched from, and how memory nodes are freed: not simulated.
SIMULATED_API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                               unsigned long long flags) {
  return api("cudaGraphInstantiate", Needs::device, [&] {
    if (executable == nullptr || !is_live(graph)) return cudaErrorInvalidValue;
    *executable = nullptr;
    if (flags != 0) {
      explain("cudaGraphInstantiate: flags are not simulated");
      return cudaErrorNotSupported;
    }
    *executable = new CUgraphExec_st{graph->nodes, nullptr};
    live_graphs().insert(*executable);
    return cudaSuccess;
  });
}

// "Each launch is ordered behind both any previous work in stream and any previous launches of graphExec."
SIMULATED_API cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  return api("cudaGraphLaunch", Needs::device, [&] {
    if (!is_live(executable)) return cudaErrorInvalidValue;
    CUstream_st* stream = nullptr;
    if (const cudaError_t status = find_stream(handle, stream); status != cudaSuccess) return status;
    if (stream->capture != nullptr) {
      explain("cudaGraphLaunch into a stream that is being captured is not simulated");
      return cudaErrorNotSupported;
    }
    std::vector<std::shared_ptr<Operation>> after;
    if (executable->last != nullptr && !executable->last->done) after.push_back(executable->last);
    return submit(*stream, executable->nodes, std::move(after), &executable->last);
  });
}

// Only does earlier what the first launch would do; nothing to simulate.
SIMULATED_API cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t handle) {
  return api("cudaGraphUpload", Needs::device, [&] {
    CUstream_st* stream = nullptr;
    return is_live(executable) ? find_stream(handle, stream) : cudaErrorInvalidValue;
  });
}

SIMULATED_API cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api("cudaGraphDestroy", Needs::device, [&] {
    if (live_graphs().erase(graph) == 0) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}

// Launched work completes: the operations own the nodes.
SIMULATED_API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return api("cudaGraphExecDestroy", Needs::device, [&] {
    if (live_graphs().erase(executable) == 0) return cudaErrorInvalidValue;
    delete executable;
    return cudaSuccess;
  });
}

// "nodes may be NULL, in which case this function will return the number of nodes in numNodes. Otherwise, numNodes
// entries will be filled in. If numNodes is higher than the actual number of nodes, the remaining entries in nodes will
// be set to NULL, and the number of nodes actually obtained will be returned in numNodes."
SIMULATED_API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  return api("cudaGraphGetNodes", Needs::device, [&] {
    if (count == nullptr || !is_live(graph)) return cudaErrorInvalidValue;
    if (nodes != nullptr) {
      for (std::size_t i = 0; i < *count; ++i) {
        nodes[i] = i < graph->nodes.size() ? const_cast<cudaGraphNode_t>(graph->nodes[i].get()) : nullptr;
      }
      *count = std::min(*count, graph->nodes.size());
    } else {
      *count = graph->nodes.size();
    }
    return cudaSuccess;
  });
}

SIMULATED_API cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return api("cudaGraphNodeGetType", Needs::device, [&] {
    if (node == nullptr || type == nullptr) return cudaErrorInvalidValue;
    *type = node->type;
    return cudaSuccess;
  });
}
