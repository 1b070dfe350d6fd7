// descent data: downloads, checks and shows datasets.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "cli.h"
#include "descent/data.h"
#include "descent/error.h"
#include "picture.h"

namespace descent::cli {
namespace data_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent data fetch mnist                 into the cache, checked by SHA-256\n"
    "  descent data fetch mnist --fallback      or something else, announced\n"
    "  descent data check my-folder             sizes, classes, duplicates\n"
    "  descent data show fashion-mnist --index 0,1,2\n";

struct Options {
  std::string name;
  bool fallback = false, offline = false, json = false, train = false;
  std::vector<std::int64_t> indices;
};

data::DatasetPair load(const Options& o) {
  const auto policy = o.offline    ? data::FetchPolicy::local
                      : o.fallback ? data::FetchPolicy::fallback
                                   : data::FetchPolicy::download;
  return data::load(o.name, policy, data_log);
}

int fetch(const Options& o) {
  const data::DatasetPair pair = load(o);
  if (o.json) {
    print_json({{"name", pair.train.name},
                {"train", pair.train.size()},
                {"test", pair.test.size()},
                {"source", pair.train.source}});
    return kOk;
  }
  print(fmt::format("{}: {} training and {} test images, {}\n", pair.train.name, thousands(pair.train.size()),
                    thousands(pair.test.size()), pair.train.source));
  return kOk;
}

Json split_json(const data::Dataset& dataset) {
  const auto pairs = data::find_duplicates(dataset, dataset);
  const Shape& shape = dataset.images.shape();
  return {
      {"images", dataset.size()},
      {"shape", {shape[1], shape[2], shape[3]}},
      {"class_counts", data::class_counts(dataset)},
      {"duplicates_within", std::ranges::count_if(pairs, [](const auto& pair) { return pair.first != pair.second; })}};
}

std::string split_text(const char* name, const data::Dataset& dataset) {
  const Shape& shape = dataset.images.shape();
  const auto counts = data::class_counts(dataset);
  std::string text =
      fmt::format("{}: {} images of {} x {} x {}\n", name, thousands(dataset.size()), shape[1], shape[2], shape[3]);
  for (std::size_t c = 0; c < counts.size(); ++c)
    text += fmt::format("  {:>7}  {}\n", thousands(counts[c]), dataset.class_names[c]);
  return text;
}

int check(const Options& o) {
  const data::DatasetPair pair = load(o);
  const auto leaked = data::find_duplicates(pair.train, pair.test);
  const std::int64_t empty = std::ranges::count(data::class_counts(pair.train), 0);
  if (o.json) {
    print_json({{"name", pair.train.name},
                {"source", pair.train.source},
                {"classes", pair.train.class_names},
                {"train", split_json(pair.train)},
                {"test", split_json(pair.test)},
                {"test_images_in_train", leaked.size()}});
    return kOk;
  }
  print(fmt::format("{}, {}\n{}{}test images that are also training images: {}\n", pair.train.name, pair.train.source,
                    split_text("train", pair.train), split_text("test", pair.test), leaked.size()));
  if (empty > 0) warn(fmt::format("{} classes have no training image", empty));
  return kOk;
}

int show(const Options& o) {
  const data::DatasetPair pair = load(o);
  const data::Dataset& dataset = o.train ? pair.train : pair.test;
  const char* no_color = std::getenv("NO_COLOR");
  const bool color = stdout_is_terminal() && utf8_locale() && (no_color == nullptr || *no_color == '\0');
  for (const std::int64_t index : o.indices.empty() ? std::vector<std::int64_t>{0} : o.indices) {
    if (index < 0 || index >= dataset.size()) {
      throw InvalidArgument(fmt::format("data show: index {}, expected 0 to {}", index, dataset.size() - 1));
    }
    const Shape& shape = dataset.images.shape();
    const Tensor image = dataset.images.narrow(0, index, 1).reshape({shape[1], shape[2], shape[3]});
    const auto label = static_cast<std::size_t>(dataset.labels.data<std::int32_t>()[index]);
    print(fmt::format("{} {} image {}: {}\n{}\n", dataset.name, o.train ? "training" : "test", index,
                      dataset.class_names[label], draw(image, color, utf8_locale())));
  }
  return kOk;
}

}  // namespace
}  // namespace data_command

void add_data(CLI::App& app, Run& run) {
  using namespace data_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "data", "Obtain, check and look at datasets", kExamples);
  command->require_subcommand(1);
  const auto sub = [&](const char* name, const char* what, int (*action)(const Options&)) {
    CLI::App* child = command->add_subcommand(name, what);
    child->add_option("name", o->name, "mnist, fashion-mnist, synthetic, or a folder with IDX files")->required();
    child->add_flag("--fallback", o->fallback, "take another dataset, and say so, where this one can't be had");
    child->add_flag("--offline", o->offline, "don't use the network");
    child->callback([o, action, &run] { run = [o, action] { return action(*o); }; });
    return child;
  };
  sub("fetch", "make sure that it is here", fetch)->add_flag("--json", o->json, "one JSON object on standard output");
  sub("check", "count images and classes, find duplicates", check)
      ->add_flag("--json", o->json, "one JSON object on standard output");
  CLI::App* show_command = sub("show", "draw images in the terminal", show);
  show_command->add_option("--index", o->indices, "which, separated by commas")->delimiter(',')->take_all();
  show_command->add_flag("--train", o->train, "of the training images");
}

}  // namespace descent::cli
