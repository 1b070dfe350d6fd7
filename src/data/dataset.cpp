// In-memory datasets: built from images and labels; subsets, class counts and duplicates.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "descent/data.h"
#include "descent/error.h"

namespace descent::data {
namespace {

std::string_view image_bytes(const Dataset& dataset, std::int64_t index) {
  const std::int64_t bytes = dataset.images.numel() / dataset.size();
  const auto* first = reinterpret_cast<const char*>(dataset.images.data<std::uint8_t>());
  return {first + index * bytes, static_cast<std::size_t>(bytes)};
}

}  // namespace

std::int64_t Dataset::size() const { return images.defined() ? images.size(0) : 0; }

Dataset Dataset::take(std::int64_t count) const {
  if (count < 0) throw InvalidArgument(fmt::format("take: {} examples, expected at least 0", count));
  const std::int64_t end = std::min(count, size());
  Dataset part = *this;
  part.images = images.narrow(0, 0, end);
  part.labels = labels.narrow(0, 0, end);
  return part;
}

Dataset Dataset::subset(std::span<const std::int64_t> indices) const {
  const auto count = static_cast<std::int64_t>(indices.size());
  Dataset part = *this;
  part.images = Tensor::empty(images.shape().with(0, count), DType::u8);
  part.labels = Tensor::empty({count}, DType::i32);
  auto* image = part.images.data<std::uint8_t>();
  auto* label = part.labels.data<std::int32_t>();
  for (const std::int64_t index : indices) {
    if (index < 0 || index >= size()) {
      throw InvalidArgument(fmt::format("subset: index {}, expected 0 to {}", index, size() - 1));
    }
    const std::string_view bytes = image_bytes(*this, index);
    std::memcpy(image, bytes.data(), bytes.size());
    image += bytes.size();
    *label++ = labels.data<std::int32_t>()[index];
  }
  return part;
}

Dataset make_dataset(std::string name, const Tensor& images, const Tensor& labels, std::string source) {
  const auto fail = [&](const std::string& what) {
    throw FormatError(fmt::format("{}: {}", escape_path(source, 200), what));
  };
  if (images.dtype() != DType::u8 || (images.rank() != 3 && images.rank() != 4) || images.numel() == 0) {
    fail(fmt::format("images are {} {}, expected u8 [N, H, W] or [N, H, W, C], none of them 0",
                     descent::to_string(images.dtype()), to_string(images.shape())));
  }
  if (labels.rank() != 1 || is_floating(labels.dtype())) {
    fail(fmt::format("labels are {} {}, expected whole numbers [N]", descent::to_string(labels.dtype()),
                     to_string(labels.shape())));
  }
  if (labels.size(0) != images.size(0)) {
    fail(fmt::format("{} images, but {} labels", images.size(0), labels.size(0)));
  }
  Dataset dataset;
  dataset.images =
      images.rank() == 4 ? images : images.reshape({images.size(0), images.size(1), images.size(2), std::int64_t{1}});
  dataset.labels = labels.to(DType::i32);
  const auto* first = dataset.labels.data<std::int32_t>();
  const auto [low, high] = std::minmax_element(first, first + labels.numel());
  constexpr std::int32_t kMaxClasses = 65'536;
  if (*low < 0 || *high >= kMaxClasses) {
    fail(fmt::format("labels from {} to {}, expected 0 to {}", *low, *high, kMaxClasses - 1));
  }
  for (std::int32_t label = 0; label <= *high; ++label) dataset.class_names.push_back(std::to_string(label));
  dataset.name = std::move(name);
  dataset.source = std::move(source);
  return dataset;
}

std::vector<std::int64_t> class_counts(const Dataset& dataset) {
  std::vector<std::int64_t> counts(dataset.class_names.size(), 0);
  if (dataset.size() == 0) return counts;
  if (!dataset.labels.defined() || dataset.labels.shape() != Shape{dataset.size()}) {
    throw InvalidArgument(
        fmt::format("class_counts: {} images, the labels are {}", dataset.size(),
                    dataset.labels.defined() ? to_string(dataset.labels.shape()) : std::string("undefined")));
  }
  const auto* labels = dataset.labels.data<std::int32_t>();
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= dataset.classes()) {
      throw InvalidArgument(
          fmt::format("class_counts: label {} of example {}, expected 0 to {}", labels[i], i, dataset.classes() - 1));
    }
    ++counts[static_cast<std::size_t>(labels[i])];
  }
  return counts;
}

std::vector<DuplicatePair> find_duplicates(const Dataset& first, const Dataset& second) {
  std::unordered_map<std::string_view, std::int64_t> known;
  known.reserve(static_cast<std::size_t>(first.size()));
  for (std::int64_t i = 0; i < first.size(); ++i) known.try_emplace(image_bytes(first, i), i);
  std::vector<DuplicatePair> pairs;
  for (std::int64_t i = 0; i < second.size(); ++i) {
    const auto found = known.find(image_bytes(second, i));
    if (found != known.end()) pairs.push_back({found->second, i});
  }
  return pairs;
}

}  // namespace descent::data
