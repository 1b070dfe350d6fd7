// descent bench: the kernel table or one whole job, as shares of the peaks that this machine reaches in the same run.
#include <fmt/format.h>

#include "benchmark.h"
#include "cli.h"
#include "descent/error.h"
#include "descent/nn.h"
#include "training.h"

namespace descent::cli {
namespace bench_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent bench                          the table of kernels\n"
    "  descent bench --op conv2d              those with conv2d in their name\n"
    "  descent bench --train cnn              seconds per epoch of 60,000 images\n"
    "  descent bench --infer mlp --json       images/s, one at a time\n"
    "  descent bench --peak\n"
    "  descent bench --device cuda --precision tf32\n";
constexpr double kEpochImages = 60000;

struct Options {
  std::string train, infer, op;
  JobOptions job;
  std::string device = "cpu";
  int threads = 0;
  bool peak = false, json = false;
};

Peak peak_for(const JobOptions& job) { return peak_of(job.device, activation_type(job.precision, "f32")); }

bool on_gpu(const Options& o) { return o.job.device.type == DeviceType::cuda; }

// What the numbers were measured on.
std::string machine(const Options& o) {
  const std::string where = on_gpu(o) ? device_name(o.job.device) : fmt::format("{} threads", num_threads());
  return o.job.precision == "f32" ? where : fmt::format("{}, {}", where, o.job.precision);
}

std::string describe(const Options& o, const Peak& peak) {
  return fmt::format("{:.0f} GFLOP/s {}, {:.1f} GB/s copying (read + written), {}", peak.gflops_f32,
                     on_gpu(o) ? "in a product of 4096 x 4096 matrices" : "of f32 multiply-adds", peak.copy_gb_s,
                     machine(o));
}

Json to_json(const Options& o, const Peak& peak) {
  Json json = {{"gflops_f32", peak.gflops_f32},
               {"copy_gb_s", peak.copy_gb_s},
               {"threads", num_threads()},
               {"device", to_string(o.job.device)}};
  json["precision"] = o.job.precision;
  if (on_gpu(o)) json["device_name"] = device_name(o.job.device);
  return json;
}

int show_peak(const Options& o) {
  const Peak peak = peak_for(o.job);
  if (o.json) {
    print_json(to_json(o, peak));
  } else {
    print(describe(o, peak) + "\n");
  }
  return kOk;
}

int run_job(const Options& o) {
  JobOptions job = o.job;
  const bool training = !o.train.empty();
  job.model = training ? o.train : o.infer;
  const JobResult result = training ? bench_training(job) : bench_inference(job);
  const Peak peak = peak_for(job);
  const double share = result.gflops / peak.gflops_f32;
  if (o.json) {
    Json json = {{"job", training ? "train" : "infer"},
                 {"model", job.model},
                 {"data", result.data},
                 {"batch_size", training ? job.batch_size : 1},
                 {"steps", result.steps},
                 {"blocks", result.block_seconds},
                 {"block_seconds", result.median_seconds},
                 {"images_per_second", result.images_per_second},
                 {"gflops", result.gflops},
                 {"peak_gflops_f32", peak.gflops_f32},
                 {"share_of_peak", share},
                 {"threads", num_threads()},
                 {"device", device_name(job.device)},
                 {"precision", o.job.precision}};
    if (training) json["seconds_per_epoch"] = kEpochImages / result.images_per_second;
    if (result.graph_nodes > 0) json["graph_nodes"] = result.graph_nodes;
    print_json(json);
    return kOk;
  }
  const std::string time =
      training ? fmt::format("{:.3f} s per epoch of 60,000 images", kEpochImages / result.images_per_second)
               : fmt::format("{:.1f} us per image", 1e6 / result.images_per_second);
  print(
      fmt::format("{} {} on {} images, batch {}: {}, {} images/s, {:.0f} GFLOP/s = {:.0f} % of the measured {:.0f}\n"
                  "median of {} blocks of {} steps, {}\n",
                  training ? "train" : "infer", job.model, result.data, training ? job.batch_size : 1, time,
                  thousands(static_cast<std::int64_t>(result.images_per_second)), result.gflops, share * 100,
                  peak.gflops_f32, result.block_seconds.size(), result.steps, machine(o)));
  return kOk;
}

int kernel_table(const Options& o) {
  if (o.job.precision == "bf16") {
    throw InvalidArgument("bench: the table of kernels is for f32 and tf32; bf16 is for --train, --infer and --peak");
  }
  const Peak peak = peak_for(o.job);
  const std::vector<KernelRow> rows = bench_kernels(o.op, peak, o.job.device);
  if (rows.empty()) throw InvalidArgument(fmt::format("bench: no kernel has \"{}\" in its name", escape(o.op)));
  if (o.json) {
    Json kernels = Json::array();
    for (const KernelRow& row : rows) {
      kernels.push_back({{"op", row.op},
                         {"size", row.size},
                         {"seconds", row.seconds},
                         {row.is_flops ? "gflops" : "gb_s", row.rate},
                         {"share_of_peak", row.share}});
    }
    Json json = to_json(o, peak);
    json["kernels"] = std::move(kernels);
    print_json(json);
    return kOk;
  }
  std::string text = fmt::format("peak: {}\n\n{:<52}{:<34}{:>12}{:>16}{:>9}\n", describe(o, peak), "op", "size", "time",
                                 "rate", "of peak");
  for (const KernelRow& row : rows) {
    text += fmt::format("{:<52}{:<34}{:>9.1f} us{:>9.1f} {:<6}{:>7.0f} %\n", row.op, row.size, row.seconds * 1e6,
                        row.rate, row.is_flops ? "GFLOP/s" : "GB/s", row.share * 100);
  }
  print(text +
        "\nSizes that fit the caches can exceed the copy rate, and convolutions whose gradient skips zeros the FMA "
        "peak.\n");
  return kOk;
}

int bench(Options o) {
  if (static_cast<int>(!o.train.empty()) + static_cast<int>(!o.infer.empty()) + static_cast<int>(!o.op.empty()) +
          static_cast<int>(o.peak) >
      1) {
    throw InvalidArgument("bench: --train, --infer, --op and --peak exclude each other");
  }
  if (o.job.precision != "f32" && o.job.dtype == "f64") {
    throw InvalidArgument(fmt::format("--precision {}: it is for --dtype f32, f64 is never rounded", o.job.precision));
  }
  set_num_threads(o.threads);
  o.job.device = parse_device(o.device);
  use_precision(o.job.precision, o.job.device);
#if defined(DESCENT_SIMULATED)
  if (on_gpu(o)) {  // times of a simulated device are meaningless
    if (o.peak || !o.infer.empty()) {
      throw InvalidArgument("bench: the simulated device has counters for the table of kernels and for --train alone");
    }
    o.job.model = o.train;
    return o.train.empty() ? bench_simulated_kernels(o.op, o.job.device, o.json)
                           : bench_simulated_training(o.job, o.json);
  }
#endif
  if (o.peak) return show_peak(o);
  return o.train.empty() && o.infer.empty() ? kernel_table(o) : run_job(o);
}

}  // namespace
}  // namespace bench_command

void add_bench(CLI::App& app, Run& run) {
  using namespace bench_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "bench", "Time kernels, training and inference", kExamples);
  command->add_option("--train", o->train, "time training steps of mlp, lenet5, cnn, cnn-bn or a JSON file");
  command->add_option("--infer", o->infer, "time single images through it");
  command->add_option("--op", o->op, "only kernels with this in their name");
  command->add_flag("--peak", o->peak, "only what this machine can do");
  command->add_option("--batch-size,-b", o->job.batch_size, "of --train")
      ->check(positive_count())
      ->capture_default_str();
  command->add_option("--steps", o->job.steps, "per block (default: half a second's worth)")->check(positive_count());
  command->add_option("--blocks", o->job.blocks, "whose median is taken")
      ->check(positive_count())
      ->capture_default_str();
  command->add_option("--data,-d", o->job.data,
                      "images for --train and --infer (default: MNIST if it is here, else random)");
  command->add_option("--dtype", o->job.dtype, "f32 or f64")->check(any_of({"f32", "f64"}))->capture_default_str();
  command->add_option("--device", o->device, "cpu, cuda, cuda:N or auto")->capture_default_str();
  command->add_option("--precision", o->job.precision, "f32, tf32 or, for --train, --infer and --peak, bf16")
      ->check(any_of({"f32", "tf32", "bf16"}))
      ->capture_default_str();
  command->add_flag("--no-graph", o->job.no_graph, "--train on CUDA: queue every kernel instead of replaying a graph");
  add_threads(*command, o->threads);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return bench(*o); }; });
}

}  // namespace descent::cli
