// descent info: what this build is and what this machine can do.
#include <fmt/format.h>

#include "cli.h"
#include "descent/device.h"
#include "descent/error.h"
#include "descent/machine.h"
#include "descent/version.h"

namespace descent::cli {
namespace info_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent info\n"
    "  descent info --peak --json\n";

struct Options {
  bool peak = false, json = false;
  int threads = 0;
};

std::string version() {
  return fmt::format("{}.{}.{}", DESCENT_VERSION_MAJOR, DESCENT_VERSION_MINOR, DESCENT_VERSION_PATCH);
}

std::string compiler() {
#if defined(__clang__)
  return fmt::format("clang {}.{}", __clang_major__, __clang_minor__);
#else
  return fmt::format("gcc {}.{}", __GNUC__, __GNUC_MINOR__);
#endif
}

std::string describe_device(const CudaDeviceInfo& d) {
  return fmt::format("{}, {:.0f} GiB, compute capability {}.{}, {} multiprocessors", d.name,
                     static_cast<double>(d.memory) / (1 << 30), d.major, d.minor, d.multiprocessors);
}

std::string driver_version(const CudaDeviceInfo& d) {
  return fmt::format("{}.{}", d.driver / 1000, d.driver % 1000 / 10);
}

Json to_json(const std::vector<CudaDeviceInfo>& devices) {
  Json list = Json::array();
  for (const CudaDeviceInfo& d : devices) {
    list.push_back({{"name", d.name},
                    {"memory", d.memory},
                    {"compute_capability", fmt::format("{}.{}", d.major, d.minor)},
                    {"multiprocessors", d.multiprocessors},
                    {"driver_cuda", driver_version(d)}});
  }
  return list;
}

Json to_json(const CudaBuild& build) {
  Json libraries = Json::object();
  for (const CudaLibrary& l : build.libraries) libraries[l.name] = {{"built", l.built}, {"running", l.running}};
  return {{"architectures", build.architectures}, {"libraries", std::move(libraries)}};
}

// Why convolutions do not use cuDNN; empty if they do.
std::string cudnn_reason() {
  try {
    return cudnn_unavailable_reason(Device::cuda());
  } catch (const DeviceError& error) {  // the device is there, but can't be used
    return error.what();
  }
}

std::string cuda_lines(const std::string& reason, const std::vector<CudaDeviceInfo>& devices) {
  const CudaBuild build = cuda_build();
  const std::string built = build.architectures.empty() ? "" : fmt::format("built    {}\n", describe(build));
  if (!reason.empty() || devices.empty()) return fmt::format("CUDA     no: {}\n{}", reason, built);
  std::string text = fmt::format("CUDA     available, driver for CUDA {}\n", driver_version(devices[0]));
  for (std::size_t i = 0; i < devices.size(); ++i)
    text += fmt::format("cuda:{:<4}{}\n", i, describe_device(devices[i]));
  const std::string why = cudnn_reason();
  return text + built + (why.empty() ? "" : fmt::format("cuDNN    not in use: {}\n", why));
}

int info(const Options& o) {
  set_num_threads(o.threads);
  const std::string reason = cuda_unavailable_reason();
  const std::vector<CudaDeviceInfo> devices = cuda_devices();
  const BuildInfo build = build_info();
  Json result = {{"version", version()},
                 {"compiler", compiler()},
                 {"threads", num_threads()},
                 {"simd", build.simd},
                 {"cuda", reason.empty()},
                 {"cuda_devices", to_json(devices)},
                 {"default_device", to_string(parse_device("auto"))}};
  if (!reason.empty()) result["cuda_unavailable"] = reason;
  if (const CudaBuild cuda = cuda_build(); !cuda.architectures.empty()) {
    result["cuda_build"] = to_json(cuda);
    if (reason.empty()) {
      const std::string why = cudnn_reason();
      result["cudnn"] = why.empty();
      if (!why.empty()) result["cudnn_unavailable"] = why;
    }
  }
  std::string text =
      fmt::format("descent {}, built with {}\nCPU      {} threads, {}\n{}device   {} (auto)\n", version(), compiler(),
                  num_threads(), build.simd, cuda_lines(reason, devices), to_string(parse_device("auto")));
  if (o.peak) {
    const Peak peak = measure_peak();
    result["gflops_f32"] = peak.gflops_f32;
    result["copy_gb_s"] = peak.copy_gb_s;
    text += fmt::format("peak     {:.0f} GFLOP/s of f32 multiply-adds, {:.1f} GB/s copying (read + written)\n",
                        peak.gflops_f32, peak.copy_gb_s);
  }
  if (o.json) {
    print_json(result);
  } else {
    print(text);
  }
  return kOk;
}

}  // namespace
}  // namespace info_command

void add_info(CLI::App& app, Run& run) {
  using namespace info_command;
  auto o = std::make_shared<Options>();
  CLI::App* command =
      add_command(app, "info", "Version, devices, threads; with --peak what the machine can do", kExamples);
  command->add_flag("--peak", o->peak, "measure the peaks that benchmarks are compared with (half a second)");
  add_threads(*command, o->threads);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return info(*o); }; });
}

}  // namespace descent::cli
