// Modules, which read their kernels on request.
#include "ptx/kernel_reader.h"

namespace simulated::ptx {

struct Module::Text {
  explicit Text(std::string ptx) : program(std::move(ptx)) {}
  Program program;
  Names<std::unique_ptr<Kernel>> kernels;  // read so far, on request
};

Module::Module(std::string text) : text_(std::make_unique<Text>(std::move(text))) {}
Module::~Module() = default;
Module::Module(Module&&) noexcept = default;
Module& Module::operator=(Module&&) noexcept = default;

int Module::target() const { return text_->program.target; }

std::vector<std::string> Module::kernel_names() const { return text_->program.kernel_names; }

bool Module::has(std::string_view kernel) const { return text_->program.kernels.contains(kernel); }

const Kernel& Module::kernel(const std::string& name) {
  if (const auto known = text_->kernels.find(name); known != text_->kernels.end()) return *known->second;
  const auto found = text_->program.kernels.find(name);
  if (found == text_->program.kernels.end()) throw Error(FaultKind::invalid_ptx, "PTX: no kernel " + name);
  auto kernel = std::make_unique<Kernel>();
  kernel->name = name;
  KernelReader(text_->program, *kernel).read(found->second);
  return *(text_->kernels[name] = std::move(kernel));
}

std::uint64_t Module::variable(const std::string& name) const {
  const auto found = text_->program.variables.find(name);
  return found == text_->program.variables.end() ? 0 : found->second;
}

}  // namespace simulated::ptx
