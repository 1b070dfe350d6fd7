// Fork-join parallelism for the CPU kernels. Callers cut their work so that results have the same bits for any number
// of threads: a cut that affects the order of a sum depends only on the size of the work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "descent/device.h"  // set_num_threads and num_threads, which are defined with the pool
#include "descent/export.h"

namespace descent::cpu {

using TaskFunction = void (*)(void* context, std::int64_t task);

// Calls function(context, task) once for each task in [0, tasks), on the calling thread and the workers, and
// returns when all are done. Rethrows the first exception of a task; tasks that had not begun by then are skipped.
// Calls from inside a task, and from a second thread while the pool is busy, run on the calling thread. Allocates
// nothing once the pool exists.
void run_tasks(std::int64_t tasks, TaskFunction function, void* context);

template <class F>
void parallel_for(std::int64_t tasks, F&& f) {
  using Callable = std::remove_reference_t<F>;
  if (tasks == 1) {
    f(std::int64_t{0});
    return;
  }
  run_tasks(
      tasks, [](void* context, std::int64_t task) { (*static_cast<Callable*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

// Calls f(begin, end) for consecutive pieces of `grain` elements (the last may be shorter) that cover [0, n).
template <class F>
void parallel_pieces(std::int64_t n, std::int64_t grain, F&& f) {
  if (n <= 0) return;
  const std::int64_t pieces = (n - 1) / grain + 1;
  parallel_for(pieces, [&](std::int64_t piece) { f(piece * grain, std::min(n, (piece + 1) * grain)); });
}

}  // namespace descent::cpu
