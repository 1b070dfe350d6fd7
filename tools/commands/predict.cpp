// descent predict: classifies PNG files or test images with a model.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "cli.h"
#include "descent/error.h"
#include "descent/train.h"
#include "picture.h"
#include "run_folder.h"
#include "training.h"
#include "weights.h"

namespace descent::cli {
namespace predict_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent predict --model runs/first my-digit.png\n"
    "  descent predict --model runs/first --data mnist 0 17 42\n"
    "  descent predict --model runs/first --json my-digit.png | jq '.predictions[0].class'\n"
    "  descent predict --model cnn --weights from-pytorch.safetensors --normalization 0.1307,0.3081 my-digit.png\n";

constexpr const char* kBlank = "nothing is drawn: all pixels are the same, or almost";

struct Options {
  ModelOptions model;
  std::string data, device = "auto";
  std::vector<std::string> inputs;
  std::vector<std::string> indices;
  std::int64_t top = 3;
  int threads = 0;
  bool json = false, keep_polarity = false, no_picture = false;
};

struct Input {
  std::string name;
  Tensor image;  // u8 [H, W, C]
  std::vector<std::string> notes;
  std::optional<std::int32_t> label;
  bool blank = false;  // the image shows nothing, so nothing is predicted
};

std::int64_t parse_index(const std::string& text, std::int64_t size) {
  std::int64_t index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index < 0 || index >= size) {
    throw InvalidArgument(
        fmt::format("predict: \"{}\": expected an index into the test images, 0 to {}", escape(text), size - 1));
  }
  return index;
}

std::vector<Input> from_dataset(const data::Dataset& test, const std::vector<std::string>& indices) {
  std::vector<Input> inputs;
  for (const std::string& text : indices) {
    const std::int64_t index = parse_index(text, test.size());
    const Tensor image =
        test.images.narrow(0, index, 1).reshape({test.images.size(1), test.images.size(2), test.images.size(3)});
    inputs.push_back(
        {fmt::format("{} test image {}", test.name, index), image, {}, test.labels.data<std::int32_t>()[index]});
    // Not marked as blank: it has a label with which the model's answer can be compared.
    if (is_blank(image)) inputs.back().notes.emplace_back(kBlank);
  }
  return inputs;
}

// zscore stores the mean of the training images, which shows their polarity; otherwise MNIST's is assumed.
bool light_on_dark(const data::Normalization& normalization) {
  if (normalization.kind != data::Normalization::Kind::zscore) return true;
  const std::vector<double>& means = normalization.shift;
  return std::accumulate(means.begin(), means.end(), 0.0) < 127.5 * static_cast<double>(means.size());
}

std::vector<Input> from_files(const Options& options, const Shape& wanted, const data::Normalization& normalization) {
  const FitOptions fit{.keep_polarity = options.keep_polarity, .light_on_dark = light_on_dark(normalization)};
  std::vector<Input> inputs;
  for (const std::string& path : options.inputs) {
    Fitted fitted = fit_image(io::read_png(path, io::Alpha::keep), wanted, fit);
    if (fitted.blank) fitted.notes.emplace_back(kBlank);
    inputs.push_back({path, fitted.image, std::move(fitted.notes), std::nullopt, fitted.blank});
  }
  return inputs;
}

// The model's input [H, W, C]; the architecture was checked when the file was loaded.
Shape input_shape(const train::LoadedModel& loaded) {
  const Json input = Json::parse(loaded.info.model_json).at("input");
  const auto dims = input.get<std::vector<std::int64_t>>();
  if (dims.size() != 3) throw InvalidArgument("predict: the model's input is not an image");
  return Shape(std::span<const std::int64_t>(dims));
}

Json to_json(const Input& input, const std::vector<double>& probabilities, const std::vector<std::string>& names) {
  if (input.blank) {
    const Json none;
    return {{"input", input.name}, {"class", none},         {"name", none},
            {"probability", none}, {"probabilities", none}, {"notes", input.notes}};
  }
  const auto best = std::max_element(probabilities.begin(), probabilities.end()) - probabilities.begin();
  Json result = {{"input", input.name},
                 {"class", best},
                 {"name", names[static_cast<std::size_t>(best)]},
                 {"probability", probabilities[static_cast<std::size_t>(best)]},
                 {"probabilities", probabilities},
                 {"notes", input.notes}};
  if (input.label) result["label"] = *input.label;
  return result;
}

std::string bars(const std::vector<double>& probabilities, const std::vector<std::string>& names, std::int64_t top,
                 bool utf8) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return probabilities[a] > probabilities[b]; });
  order.resize(std::min(order.size(), static_cast<std::size_t>(top)));
  std::size_t width = 0;
  for (const std::size_t c : order) width = std::max(width, names[c].size());
  std::string text;
  for (const std::size_t c : order) {
    std::string bar;
    for (int i = 0; i < std::lround(probabilities[c] * 30); ++i) bar += utf8 ? "█" : "#";
    text += fmt::format("  {:<{}}  {:6.2f} %  {}\n", names[c], width, probabilities[c] * 100, bar);
  }
  return text;
}

// Empty for a blank picture.
std::vector<double> probabilities_of(const Input& input, const train::LoadedModel& loaded,
                                     const train::EvaluateOptions& settings) {
  if (input.blank) return {};
  const Tensor batch = input.image.reshape({1, input.image.size(0), input.image.size(1), input.image.size(2)});
  auto probabilities = train::predict(*loaded.module, batch, loaded.info.normalization, settings).to_vector<double>();
  for (std::size_t c = 0; c < probabilities.size(); ++c) {
    if (std::isnan(probabilities[c])) {
      throw NumericalError(
          fmt::format("predict: {}: the probability of class {} is NaN", escape_path(input.name, 200), c));
    }
  }
  return probabilities;
}

int predict_images(const Options& options) {
  if (options.inputs.empty() && options.indices.empty()) {
    throw InvalidArgument("predict: nothing to look at: give PNG files, or --data NAME with indices");
  }
  const Device device = parse_device(options.device);
  set_num_threads(options.threads);
  data::DatasetPair pair;
  const auto load_data = [&](const std::string& name) {
    pair = data::load(name, data::FetchPolicy::download, data_log);
  };
  // Loaded before the model only if the model needs it: it may take a download, and the model may be missing.
  const bool data_first = !options.data.empty() && !options.model.weights.empty();
  if (data_first) load_data(options.data);
  const UsableModel model = load_usable_model(options.model, data_first ? &pair : nullptr, device, DType::f32);
  const train::LoadedModel& loaded = model.loaded;
  if (!data_first && !options.data.empty()) load_data(options.data);
  const Shape wanted = input_shape(loaded);
  if (!options.indices.empty() && options.data.empty()) {
    if (loaded.info.dataset.empty()) throw InvalidArgument("--index: needs --data NAME: of which test images?");
    load_data(loaded.info.dataset);
  }
  const bool has_data = pair.test.images.defined();
  std::vector<std::string> indices = options.indices;
  if (has_data) indices.insert(indices.end(), options.inputs.begin(), options.inputs.end());
  const std::vector<Input> inputs =
      has_data ? from_dataset(pair.test, indices) : from_files(options, wanted, loaded.info.normalization);

  train::EvaluateOptions settings;
  settings.device = device;
  const char* no_color = std::getenv("NO_COLOR");
  const bool color = stdout_is_terminal() && utf8_locale() && (no_color == nullptr || *no_color == '\0');
  Json predictions = Json::array();
  for (const Input& input : inputs) {
    const std::vector<double> probabilities = probabilities_of(input, loaded, settings);
    if (options.json) {
      predictions.push_back(to_json(input, probabilities, loaded.info.class_names));
      continue;
    }
    std::string text = fmt::format("{}\n", input.name);
    for (const std::string& note : input.notes) text += fmt::format("  note: {}\n", note);
    if (!options.no_picture) text += draw(input.image, color, utf8_locale());
    text +=
        input.blank ? "  no prediction\n" : bars(probabilities, loaded.info.class_names, options.top, utf8_locale());
    if (input.label && static_cast<std::size_t>(*input.label) < loaded.info.class_names.size()) {
      text += fmt::format("  it is {}\n", loaded.info.class_names[static_cast<std::size_t>(*input.label)]);
    }
    print(text + "\n");
  }
  if (options.json) {
    Json result = {{"model", options.model.weights.empty() ? options.model.model : model.path},
                   {"predictions", std::move(predictions)}};
    if (!options.model.weights.empty()) result["assumed"] = model.assumed;
    print_json(result);
  }
  return kOk;
}

}  // namespace
}  // namespace predict_command

void add_predict(CLI::App& app, Run& run) {
  using namespace predict_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "predict", "Classify PNG files or test images", kExamples);
  add_model_options(*command, o->model);
  command->add_option("inputs", o->inputs, "PNG files; with --data: indices of test images")->take_all();
  command->add_option("--data,-d", o->data, "mnist, fashion-mnist, synthetic, or a folder with IDX files");
  command->add_option("--index", o->indices, "indices of test images, separated by commas")->delimiter(',')->take_all();
  command->add_option("--top", o->top, "classes to print")->check(positive_count())->capture_default_str();
  command->add_flag("--keep-polarity", o->keep_polarity, "don't invert pictures to how the model's data is drawn");
  command->add_flag("--no-picture", o->no_picture, "don't draw the image");
  command->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  add_threads(*command, o->threads);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return predict_images(*o); }; });
}

}  // namespace descent::cli
