// The descriptors of cuDNN's backend API: stores the attributes that were set. Each kind's attributes are listed in a
// table (cudnn_attributes.cpp).
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

struct cudnnContext {
  bool alive = true;
  cudaStream_t stream = nullptr;
};

namespace simulated {

struct Descriptor;

struct Attribute {
  cudnnBackendAttributeType_t type = CUDNN_TYPE_INT64;
  std::int64_t count = 0;
  std::vector<char> bytes;                               // the elements themselves,
  std::vector<std::shared_ptr<const Descriptor>> parts;  // or the descriptors that they refer to
};

struct Descriptor {
  explicit Descriptor(cudnnBackendDescriptorType_t kind) : type(kind) {}

  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  std::map<int, Attribute> attributes;

  bool has(int attribute) const { return attributes.count(attribute) > 0; }
  template <class T>
  std::vector<T> list(int attribute) const {
    const auto at = attributes.find(attribute);
    if (at == attributes.end()) return {};
    std::vector<T> values(at->second.bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), at->second.bytes.data(), values.size() * sizeof(T));
    return values;
  }
  template <class T>
  T value(int attribute, T otherwise = T()) const {
    const std::vector<T> values = list<T>(attribute);
    return values.empty() ? otherwise : values.front();
  }
  std::vector<std::shared_ptr<const Descriptor>> parts(int attribute) const {
    const auto at = attributes.find(attribute);
    return at == attributes.end() ? std::vector<std::shared_ptr<const Descriptor>>() : at->second.parts;
  }
  std::shared_ptr<const Descriptor> part(int attribute) const {
    const auto all = parts(attribute);
    return all.empty() ? nullptr : all.front();
  }

  template <class T>
  void set(int attribute, cudnnBackendAttributeType_t element, const std::vector<T>& values) {
    Attribute& to = attributes[attribute];
    to = {element, static_cast<std::int64_t>(values.size()), std::vector<char>(values.size() * sizeof(T)), {}};
    if (!values.empty()) std::memcpy(to.bytes.data(), values.data(), to.bytes.size());
  }
  void set_part(int attribute, std::shared_ptr<const Descriptor> part) {
    attributes[attribute] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, {}, {std::move(part)}};
  }
};

// Finds a descriptor that was created and not destroyed; null for anything else.
std::shared_ptr<Descriptor> find_descriptor(cudnnBackendDescriptor_t handle);

struct CudnnRefusal {
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  std::string why;
  explicit operator bool() const { return status != CUDNN_STATUS_SUCCESS; }
};

// cudnn_attributes.cpp
bool is_simulated(cudnnBackendDescriptorType_t type);
std::size_t element_size(cudnnBackendAttributeType_t type);  // 0: no such type
CudnnRefusal check_attribute(cudnnBackendDescriptorType_t type, int attribute, cudnnBackendAttributeType_t element,
                             std::int64_t count, bool setting);
CudnnRefusal check_complete(const Descriptor& descriptor);  // everything required is set

}  // namespace simulated
