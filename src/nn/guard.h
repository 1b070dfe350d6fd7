// Prefixes error messages with a module's type.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "descent/error.h"

namespace descent::nn {

template <class F>
auto with_type(std::string_view type, F&& f) -> decltype(f()) {
  try {
    return std::forward<F>(f)();
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("{}: {}", type, error.what()));
  }
}

}  // namespace descent::nn
