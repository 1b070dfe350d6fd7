// What programs register before main() runs, through functions that nvcc's generated code calls (crt/host_runtime.h).
#include "runtime/modules.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "runtime/api.h"
#include "runtime/fat_binary.h"

namespace simulated {
namespace {

struct Image {
  PtxImage ptx;
  std::shared_ptr<ptx::Module> module;  // created when first needed
};

struct Binary {
  std::vector<Image> images;
};

struct HostVariable {
  std::string name;
  std::uint64_t bytes = 0;
  void** binary = nullptr;
};

struct Registered {
  std::set<void**> binaries;  // handles, which are Binary*
  std::map<const void*, Function> functions;
  std::map<const void*, HostVariable> variables;
};

Registered& registered() {
  static Registered& all = *new Registered;
  return all;
}

// The images with the highest target that the device can run, as the driver would choose.
std::vector<Image*> images_for(void** binary, int capability) {
  std::vector<Image*> best;
  for (Image& image : reinterpret_cast<Binary*>(binary)->images) {
    if (!runs_on(image.ptx, capability)) continue;
    const auto rank = [](const PtxImage& ptx) { return std::pair(ptx.target, ptx.specific != '\0'); };
    if (!best.empty() && rank(image.ptx) < rank(best.front()->ptx)) continue;
    if (!best.empty() && rank(image.ptx) > rank(best.front()->ptx)) best.clear();
    best.push_back(&image);
  }
  for (Image* const image : best) {
    if (image->module == nullptr) image->module = std::make_shared<ptx::Module>(image->ptx.text);
  }
  return best;
}

}  // namespace

int read_all_kernels() {
  const std::lock_guard lock(device_mutex());
  for (const auto& [host_function, known] : registered().functions) {
    Function* function = nullptr;
    if (find_kernel(host_function, function) != cudaSuccess) {
      throw ptx::Error(ptx::FaultKind::invalid_ptx, known.name + ": no PTX for the simulated device");
    }
  }
  return static_cast<int>(registered().functions.size());
}

cudaError_t find_kernel(const void* host_function, Function*& function) {
  const auto it = registered().functions.find(host_function);
  if (it == registered().functions.end()) return cudaErrorInvalidDeviceFunction;
  function = &it->second;
  const int capability = settings().capability;
  if (function->kernel != nullptr && function->capability == capability) return cudaSuccess;
  for (const Image* const image : images_for(function->binary, capability)) {
    if (!image->module->has(function->name)) continue;
    function->kernel = &image->module->kernel(function->name);
    function->module = image->module;
    function->capability = capability;
    return cudaSuccess;
  }
  return cudaErrorNoKernelImageForDevice;
}

cudaError_t find_variable(const void* host_variable, Variable& variable) {
  const auto it = registered().variables.find(host_variable);
  if (it == registered().variables.end()) return cudaErrorInvalidSymbol;
  for (const Image* const image : images_for(it->second.binary, settings().capability)) {
    variable = {image->module->variable(it->second.name), it->second.bytes};
    if (variable.address != 0) return cudaSuccess;
  }
  return cudaErrorInvalidSymbol;
}

}  // namespace simulated

using namespace simulated;

SIMULATED_API void** __cudaRegisterFatBinary(void* wrapper) {
  const std::lock_guard lock(device_mutex());
  auto* const binary = new Binary;
  try {
    for (PtxImage& image : read_fat_binary(wrapper)) binary->images.push_back({std::move(image), nullptr});
  } catch (const std::runtime_error& error) {
    explain(error.what());
    std::abort();
  }
  auto** const handle = reinterpret_cast<void**>(binary);
  registered().binaries.insert(handle);
  return handle;
}

SIMULATED_API void __cudaRegisterFatBinaryEnd(void**) {}

// Queued work keeps the modules that it needs alive.
SIMULATED_API void __cudaUnregisterFatBinary(void** handle) {
  const std::lock_guard lock(device_mutex());
  if (registered().binaries.erase(handle) == 0) return;
  std::erase_if(registered().functions, [&](const auto& function) { return function.second.binary == handle; });
  std::erase_if(registered().variables, [&](const auto& variable) { return variable.second.binary == handle; });
  delete reinterpret_cast<Binary*>(handle);
}

SIMULATED_API void __cudaRegisterFunction(void** handle, const char* host_function, char*, const char* device_name, int,
                                          uint3*, uint3*, dim3*, dim3*, int*) {
  const std::lock_guard lock(device_mutex());
  Function function;
  function.name = device_name;
  function.binary = handle;
  registered().functions[host_function] = std::move(function);
}

SIMULATED_API void __cudaRegisterVar(void** handle, char* host_variable, char*, const char* device_name, int,
                                     std::size_t bytes, int, int) {
  const std::lock_guard lock(device_mutex());
  registered().variables[host_variable] = {device_name, bytes, handle};
}

SIMULATED_API void __cudaRegisterManagedVar(void**, void**, char*, const char* device_name, int, std::size_t, int,
                                            int) {
  explain(std::string("managed memory is not simulated: variable ") + device_name);
  std::abort();
}

SIMULATED_API char __cudaInitModule(void**) { return 1; }

SIMULATED_API cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return api("cudaGetSymbolAddress", Needs::device, [&] {
    Variable variable;
    if (address == nullptr) return cudaErrorInvalidValue;
    const cudaError_t status = find_variable(symbol, variable);
    *address = reinterpret_cast<void*>(variable.address);
    return status;
  });
}

SIMULATED_API cudaError_t cudaGetSymbolSize(std::size_t* bytes, const void* symbol) {
  return api("cudaGetSymbolSize", Needs::device, [&] {
    Variable variable;
    if (bytes == nullptr) return cudaErrorInvalidValue;
    const cudaError_t status = find_variable(symbol, variable);
    *bytes = variable.bytes;
    return status;
  });
}
