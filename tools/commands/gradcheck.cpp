// descent gradcheck: the gradients of every op, or of a whole model's loss, against central differences in f64.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli.h"
#include "descent/autograd.h"
#include "descent/data.h"
#include "descent/error.h"
#include "descent/nn.h"
#include "descent/ops.h"
#include "descent/random.h"
#include "training.h"

namespace descent::cli {
namespace gradcheck_command {
namespace {

using Json = nlohmann::json;

constexpr const char* kExamples =
    "  descent gradcheck                      every op\n"
    "  descent gradcheck --model cnn-bn       the loss of a preset, by parameter\n"
    "  descent gradcheck --model my-model.json --elements 100\n";

constexpr std::int64_t kModelElements = 12;  // a parameter has up to thousands of elements, an op's input dozens

struct Options {
  std::string model, device = "cpu";
  std::optional<std::int64_t> elements;  // of each tensor; 0: all
  std::int64_t batch_size = 4;
  std::uint64_t seed = 0;
  double tolerance = 1e-7;
  int threads = 0;
  bool json = false;
};

struct Row {
  std::string what;
  bool passed = false;
  GradcheckEntry worst;
};

const GradcheckEntry& worst_of(const GradcheckResult& result) {
  return *std::max_element(result.entries.begin(), result.entries.end(),
                           [](const GradcheckEntry& a, const GradcheckEntry& b) { return a.error < b.error; });
}

std::vector<Row> check_ops(const GradcheckOptions& options, Device device) {
  std::vector<Row> rows;
  for (const OpGradcheck& check : gradcheck_all_ops(options, device)) {
    Row row{check.detail.empty() ? check.op : fmt::format("{} ({})", check.op, check.detail), check.result.passed, {}};
    if (!check.result.entries.empty()) row.worst = worst_of(check.result);
    rows.push_back(std::move(row));
  }
  return rows;
}

// Noise: on the uniform background of digits, thousands of activations would be equally far from a kink.
data::Dataset some_images(const Options& o) {
  Tensor images = Tensor::empty({o.batch_size, 28, 28, 1}, DType::u8);
  Tensor labels = Tensor::empty({o.batch_size}, DType::u8);
  images.copy_from(Generator(o.seed, 7).uniform(images.shape(), 0, 255));
  for (std::int64_t i = 0; i < o.batch_size; ++i) labels.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i % 10);
  data::Dataset dataset = data::make_dataset("noise", images, labels, "noise");
  dataset.class_names = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
  return dataset;
}

std::vector<Row> check_model(const Options& o, GradcheckOptions options, Device device) {
  const data::Dataset images = some_images(o);
  const nn::Model model = make_model(o.model, images, o.seed);
  nn::Sequential& module = *model.module;
  module.to(DType::f64).to(device).train();
  const auto normalization = data::Normalization::fit(data::Normalization::Kind::zscore, images);
  const Tensor x = data::normalize(images.images, normalization, DType::f64, device);
  const Tensor y = images.labels.to(device);
  std::vector<Tensor> counters;
  for (const nn::NamedTensor& counter : module.checkpoint_state()) counters.push_back(counter.tensor);
  std::vector<std::string> names;
  std::vector<Tensor> parameters;
  for (const nn::NamedTensor& parameter : module.named_parameters()) {
    names.push_back(parameter.name);
    parameters.push_back(parameter.tensor);
  }
  options.max_elements = o.elements.value_or(kModelElements);
  options.skip_kinks = true;  // among thousands of ReLUs there is always one that switches
  const auto loss = [&](const std::vector<Tensor>&) {
    for (Tensor& counter : counters) counter.fill(0);  // the same dropout masks in every call
    return cross_entropy(module(x), y);
  };
  const GradcheckResult result = gradcheck(loss, parameters, options, names);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < result.entries.size(); ++i) {
    const GradcheckEntry& entry = result.entries[i];
    const std::int64_t all = parameters[i].numel();
    const std::int64_t checked = options.max_elements == 0 ? all : std::min(options.max_elements, all);
    rows.push_back({entry.name, entry.error <= options.tolerance && entry.skipped * 2 <= checked, entry});
  }
  return rows;
}

Json to_json(const std::vector<Row>& rows, const Options& o, bool passed) {
  Json checks = Json::array();
  for (const Row& row : rows) {
    checks.push_back({{"what", row.what},
                      {"passed", row.passed},
                      {"error", row.worst.error},
                      {"input", row.worst.name},
                      {"at_a_kink", row.worst.skipped},
                      {"worst_index", row.worst.worst_index},
                      {"analytic", row.worst.worst_analytic},
                      {"numeric", row.worst.worst_numeric}});
  }
  return {{"passed", passed}, {"tolerance", o.tolerance}, {"checks", std::move(checks)}};
}

std::string table(const std::vector<Row>& rows) {
  std::size_t width = 4;
  for (const Row& row : rows) width = std::max(width, row.what.size());
  std::string text = fmt::format("{:<{}}  {:>9}  {:<8}\n", "what", width, "error", "");
  for (const Row& row : rows)
    text += fmt::format("{:<{}}  {:>9.2e}  {}{}\n", row.what, width, row.worst.error, row.passed ? "ok" : "FAILED",
                        row.worst.skipped == 0 ? ""
                        : row.passed           ? fmt::format(", {} at a kink left out", row.worst.skipped)
                                     : fmt::format(", {} at a kink left out: try another --seed", row.worst.skipped));
  return text;
}

int check(const Options& o) {
  const Device device = parse_device(o.device);
  set_num_threads(o.threads);
  GradcheckOptions options;
  options.tolerance = o.tolerance;
  options.seed = o.seed;
  options.max_elements = o.elements.value_or(0);
  const std::vector<Row> rows = o.model.empty() ? check_ops(options, device) : check_model(o, options, device);
  const auto failed = std::count_if(rows.begin(), rows.end(), [](const Row& row) { return !row.passed; });
  if (o.json) {
    print_json(to_json(rows, o, failed == 0));
  } else {
    const Row& worst = *std::max_element(rows.begin(), rows.end(),
                                         [](const Row& a, const Row& b) { return a.worst.error < b.worst.error; });
    print(fmt::format(
        "{}\nworst: {}, {}[{}]: analytic {:.9g}, numeric {:.9g}, error {:.2e} over the tensor (tolerance {:.0e})\n{}\n",
        table(rows), worst.what, worst.worst.name, worst.worst.worst_index, worst.worst.worst_analytic,
        worst.worst.worst_numeric, worst.worst.error, o.tolerance,
        failed == 0 ? fmt::format("all {} passed", rows.size()) : fmt::format("{} of {} FAILED", failed, rows.size())));
  }
  return failed == 0 ? kOk : kNumerical;
}

}  // namespace
}  // namespace gradcheck_command

void add_gradcheck(CLI::App& app, Run& run) {
  using namespace gradcheck_command;
  auto o = std::make_shared<Options>();
  CLI::App* command = add_command(app, "gradcheck", "Check gradients against central differences, in f64", kExamples);
  command->add_option("--model,-m", o->model, "mlp, lenet5, cnn, cnn-bn or a JSON file; without it: every op");
  command
      ->add_option("--elements", o->elements,
                   fmt::format("of each parameter or input, chosen at random; 0: all. By default {} of a model's "
                               "parameters, all of an op's inputs",
                               kModelElements))
      ->check(count());
  command->add_option("--batch-size,-b", o->batch_size, "images of noise")
      ->check(positive_count())
      ->capture_default_str();
  command->add_option("--seed,-s", o->seed, "of weights and choice")->check(count());
  command->add_option("--tolerance", o->tolerance, "on the norm-wise relative error")
      ->check(positive_real())
      ->capture_default_str();
  command->add_option("--device", o->device, "cpu, cuda or cuda:N")->capture_default_str();
  add_threads(*command, o->threads);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->callback([o, &run] { run = [o] { return check(*o); }; });
}

}  // namespace descent::cli
