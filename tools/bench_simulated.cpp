// `descent bench --device cuda` in a build for the simulated device (DESCENT_SIMULATED): the exact counts that a
// profiler would report for nvcc's PTX, and the step time that follows from them. Nothing here was measured on a GPU.
#include <fmt/format.h>

#include <algorithm>

#include "benchmark.h"
#include "cli.h"
#include "control.h"
#include "descent/error.h"

namespace descent::cli {
namespace {

using Json = nlohmann::json;
using simulated::Work;
using simulated::WorkKind;

// What a kernel or a library call did, summed over its launches.
struct Total {
  std::string name;
  WorkKind kind = WorkKind::kernel;
  std::uint64_t launches = 0, bytes = 0, flops = 0;
  simulated::ptx::Counters counters;
};

std::vector<Total> by_name(const std::vector<Work>& work) {
  std::vector<Total> totals;
  for (const Work& one : work) {
    auto at = std::find_if(totals.begin(), totals.end(), [&](const Total& t) { return t.name == one.name; });
    if (at == totals.end()) at = totals.insert(totals.end(), Total{one.name, one.kind, 0, 0, 0, {}});
    ++at->launches;
    at->bytes += one.bytes;
    at->flops += one.flops;
    at->counters += one.counters;
  }
  return totals;
}

double ratio(std::uint64_t a, std::uint64_t b) {
  return b == 0 ? 1.0 : static_cast<double>(a) / static_cast<double>(b);
}

// Sectors requested, relative to the fewest that each request's bytes need and to the distinct ones of the launch.
std::string sectors(const simulated::ptx::GlobalAccess& access) {
  if (access.requests == 0) return "-";
  return fmt::format("{:.2f} {:.2f}", ratio(access.sectors, access.fewest),
                     ratio(access.sectors, access.distinct_sectors));
}

Json to_json(const simulated::ptx::GlobalAccess& a) {
  return {{"requests", a.requests},
          {"bytes", a.bytes},
          {"sectors", a.sectors},
          {"fewest", a.fewest},
          {"distinct_sectors", a.distinct_sectors}};
}

Json to_json(const simulated::ptx::SharedAccess& a) {
  return {{"requests", a.requests}, {"bytes", a.bytes}, {"wavefronts", a.wavefronts}, {"fewest", a.fewest}};
}

Json to_json(const Total& t) {
  const simulated::ptx::Counters& c = t.counters;
  Json json = {{"name", t.name}, {"launches", t.launches}, {"bytes", t.bytes}, {"flops", t.flops}};
  if (t.kind != WorkKind::kernel) return json;
  json["warp_instructions"] = c.warp_instructions;
  json["thread_instructions"] = c.thread_instructions;
  json["branches"] = c.branches;
  json["divergent_branches"] = c.divergent_branches;
  json["barriers"] = c.barriers;
  json["loads"] = to_json(c.loads);
  json["stores"] = to_json(c.stores);
  json["atomics"] = to_json(c.atomics);
  json["shared_loads"] = to_json(c.shared_loads);
  json["shared_stores"] = to_json(c.shared_stores);
  json["local_bytes"] = c.local_bytes;
  return json;
}

constexpr const char* kColumns =
    "{:<60}{:>4}{:>13}{:>13}{:>13}{:>12}{:>12}{:>11}{:>11}\n";  // name, launches, instructions, bytes, ...

std::string heading(const char* first) {
  return fmt::format(kColumns, first, "n", "warp instr.", "bytes", "flops", "loads", "stores", "conflicts",
                     "divergent");
}

std::string line(const Total& t) {
  std::string name = t.name.size() > 57 ? t.name.substr(0, 57) + ".." : t.name;
  if (t.kind != WorkKind::kernel) {
    return fmt::format(kColumns, name, t.launches, "", t.bytes, t.flops, "", "", "", "");
  }
  const simulated::ptx::Counters& c = t.counters;
  return fmt::format(kColumns, name, t.launches, c.warp_instructions, t.bytes, t.flops, sectors(c.loads),
                     sectors(c.stores), c.shared_loads.conflicts() + c.shared_stores.conflicts(),
                     fmt::format("{:.1f} %", 100 * (c.branches == 0 ? 0.0 : ratio(c.divergent_branches, c.branches))));
}

constexpr const char* kLegend =
    "\nCounted on a simulated device that runs nvcc's PTX; no times. Loads and stores: sectors of 32 bytes asked for, "
    "per\n"
    "request against the fewest that its bytes need, and per launch against the different ones. Conflicts: wavefronts "
    "of\n"
    "shared memory beyond the fewest. Divergent: of a warp's branches.\n";

// The work of one call, after another one has filled the caches of plans and memory.
std::vector<Work> work_of(const std::function<void()>& call, Device device) {
  call();
  synchronize(device);
  simulated::record_work(true);
  static_cast<void>(simulated::take_work());
  call();
  synchronize(device);
  std::vector<Work> work = simulated::take_work();
  simulated::record_work(false);
  return work;
}

// From public specifications: memory in GB/s, and dense TFLOP/s; tf32 and bf16 accumulate in f32.
struct Gpu {
  const char* name;
  double memory, f64, f32, tf32, bf16;
};
constexpr Gpu kGpus[] = {{"H200", 4800, 34, 67, 495, 989}, {"RTX 4090", 1008, 1.29, 82.6, 82.6, 165.2}};
constexpr double kNodeSeconds = 1.3e-6;  // assumed, not measured: between two nodes of a CUDA graph

// Each node waits for the previous one, then takes as long as its bytes or its operations, whichever is longer. f64
// operations have units of their own, which work concurrently with the others.
double predicted_seconds(const Gpu& gpu, const std::vector<Work>& step, const std::string& precision) {
  double seconds = 0;
  for (const Work& node : step) {
    const bool product = node.kind == WorkKind::library;
    const double peak = !product ? gpu.f32 : precision == "tf32" ? gpu.tf32 : precision == "bf16" ? gpu.bf16 : gpu.f32;
    seconds += kNodeSeconds + std::max({static_cast<double>(node.bytes) / (gpu.memory * 1e9),
                                        static_cast<double>(node.flops - node.flops_f64) / (peak * 1e12),
                                        static_cast<double>(node.flops_f64) / (gpu.f64 * 1e12)});
  }
  return seconds;
}

// Records the fourth step: by then a captured graph is replayed and nothing happens for the first time.
class StepRecorder : public train::Callback {
 public:
  explicit StepRecorder(Device device) : device_(device) {}
  std::string name() const override { return "step recorder"; }
  void on_step(train::Trainer&, const train::StepInfo& info) override {
    if (info.step == kRecorded - 1) {
      synchronize(device_);
      simulated::record_work(true);
      static_cast<void>(simulated::take_work());
    } else if (info.step == kRecorded) {
      synchronize(device_);
      step_ = simulated::take_work();
      simulated::record_work(false);
      done_ = true;
    }
  }
  void on_epoch(train::Trainer&, const train::EpochInfo&) override {}
  bool done() const { return done_; }
  const std::vector<Work>& step() const { return step_; }

 private:
  static constexpr std::int64_t kRecorded = 4;
  Device device_;
  std::vector<Work> step_;
  bool done_ = false;
};

}  // namespace

int bench_simulated_kernels(const std::string& filter, Device device, bool json) {
  const std::vector<KernelCase> cases = kernel_cases(filter, device, 1);
  if (cases.empty()) throw InvalidArgument(fmt::format("bench: no kernel has \"{}\" in its name", escape(filter)));
  simulated::settings().counters = true;
  Json rows = Json::array();
  if (!json) print(heading("op, size, kernels"));
  for (const KernelCase& c : cases) {
    const std::vector<Total> totals = by_name(work_of(c.prepare(), device));
    if (json) {
      Json kernels = Json::array();
      for (const Total& t : totals) kernels.push_back(to_json(t));
      rows.push_back({{"op", c.op}, {"size", c.size}, {"least", c.work}, {"kernels", std::move(kernels)}});
    } else {
      std::string text = fmt::format("{}, {}\n", c.op, c.size);
      for (const Total& t : totals) text += "  " + line(t);
      print(text);
    }
    empty_cache(device);
  }
  if (json) {
    print_json({{"device", "simulated"}, {"kernels", std::move(rows)}});
  } else {
    print(kLegend);
  }
  return kOk;
}

int bench_simulated_training(const JobOptions& options, bool json) {
  simulated::settings().counters = true;
  auto recorder = std::make_shared<StepRecorder>(options.device);
  const WatchedTraining job = train_watched(options, recorder, [&] { return recorder->done(); });
  const std::vector<Work>& step = recorder->step();
  std::uint64_t bytes = 0, flops = 0;
  for (const Work& node : step) {
    bytes += node.bytes;
    flops += node.flops;
  }
  const std::vector<Total> totals = by_name(step);
  if (json) {
    Json kernels = Json::array(), predicted = Json::object();
    for (const Total& t : totals) kernels.push_back(to_json(t));
    for (const Gpu& gpu : kGpus) predicted[gpu.name] = predicted_seconds(gpu, step, options.precision);
    print_json({{"job", "train"},
                {"device", "simulated"},
                {"model", options.model},
                {"precision", options.precision},
                {"batch_size", options.batch_size},
                {"nodes", step.size()},
                {"bytes", bytes},
                {"flops", flops},
                {"model_flops", job.flops * static_cast<double>(options.batch_size)},
                {"predicted_seconds", std::move(predicted)},
                {"kernels", std::move(kernels)}});
    return kOk;
  }
  std::string text = heading("one step's nodes");
  for (const Total& t : totals) text += line(t);
  text += fmt::format("\ntrain {} {}, batch {}: {} nodes, {:.2f} MB, {:.3f} GFLOP a step\n", options.model,
                      options.precision, options.batch_size, step.size(), static_cast<double>(bytes) * 1e-6,
                      static_cast<double>(flops) * 1e-9);
  for (const Gpu& gpu : kGpus) {
    text +=
        fmt::format("predicted, not measured: {:.1f} us a step on {} ({:.1f} us a node, {} GB/s, peak by precision)\n",
                    predicted_seconds(gpu, step, options.precision) * 1e6, gpu.name, kNodeSeconds * 1e6, gpu.memory);
  }
  print(text + kLegend);
  return kOk;
}

}  // namespace descent::cli
