// GPUs in cuDNN's description format (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, cuDNN 9.8 and later), for queries that
// need no GPU. Taken from NVIDIA's public specifications: limits per compute capability from the CUDA C++ Programming
// Guide; multiprocessors, clocks, caches and memory from the architectures' white papers and data sheets.
#pragma once

#include <array>

namespace descent::test {

struct DescribedGpu {
  const char* name;
  int architecture;  // 10 * major + minor of the compute capability
  const char* properties;
};

inline constexpr std::array<DescribedGpu, 3> kDescribedGpus = {{
    {"RTX 3060", 86,
     R"({"cudaDeviceId":0,"deviceVer":860,"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)"
     R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":28,"warpSize":32,)"
     R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":101376,)"
     R"("reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":16,)"
     R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":1536,"pciDeviceId":9475,"isTccDriver":0,)"
     R"("supportCoopLaunch":1,"smClockRateKHz":1777000,"memClockRateKHz":7501000,"l2CacheSize":2359296,)"
     R"("totalGlobalMem":12622168064,"deviceName":"NVIDIA GeForce RTX 3060"})"},
    {"RTX 4090", 89,
     R"({"cudaDeviceId":0,"deviceVer":890,"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)"
     R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":128,"warpSize":32,)"
     R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":101376,)"
     R"("reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":24,)"
     R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":1536,"pciDeviceId":9860,"isTccDriver":0,)"
     R"("supportCoopLaunch":1,"smClockRateKHz":2520000,"memClockRateKHz":10501000,"l2CacheSize":75497472,)"
     R"("totalGlobalMem":25756696576,"deviceName":"NVIDIA GeForce RTX 4090"})"},
    {"H200", 90,
     R"({"cudaDeviceId":0,"deviceVer":900,"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)"
     R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,)"
     R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,)"
     R"("reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":32,)"
     R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":9013,"isTccDriver":0,)"
     R"("supportCoopLaunch":1,"smClockRateKHz":1980000,"memClockRateKHz":3201000,"l2CacheSize":62914560,)"
     R"("totalGlobalMem":150754820096,"deviceName":"NVIDIA H200"})"},
}};

}  // namespace descent::test
