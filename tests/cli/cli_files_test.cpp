// The command with files that it did not write: models that other programs changed, bare weights, pictures from
// anywhere, and tensors of types that it can only list.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "support/cli_run.h"
#include "support/png_files.h"

namespace descent::test {
namespace {

using Json = nlohmann::json;

class Files : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    data_ = write_quadrants(*dir_ / "data");
    write_model(*dir_ / "model.json", kStateful);
    const Ran ran = run_cli({"train", "-m", path("model.json"), "-d", data_, "--epochs", "4", "-b", "16", "--seed", "3",
                             "-q", "--out", path("run")});
    ASSERT_EQ(ran.code, 0) << ran.err;
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }
  static std::string path(const std::string& name) { return *dir_ / name; }
  static std::string model_file() { return path("run") + "/model.safetensors"; }

  // The run's model as another program would write it: compact JSON, with or without the metadata.
  static std::string rewritten(const std::string& name, bool metadata, const std::function<void(Bytes&)>& edit = {}) {
    const Bytes bytes = io::read_file(model_file());
    std::size_t length = 0;
    for (std::size_t i = 0; i < 8; ++i) length |= std::to_integer<std::size_t>(bytes[i]) << (8 * i);
    const auto begin = bytes.begin() + 8;
    const auto data = begin + static_cast<std::ptrdiff_t>(length);
    auto json = nlohmann::ordered_json::parse(std::string(reinterpret_cast<const char*>(bytes.data()) + 8, length));
    if (!metadata) json.erase("__metadata__");
    const std::string header = json.dump();
    Bytes out;
    for (std::size_t i = 0; i < 8; ++i) out.push_back(static_cast<std::byte>((header.size() >> (8 * i)) & 0xFFU));
    const Bytes text = bytes_of(header);
    out.insert(out.end(), text.begin(), text.end());
    Bytes tensors(data, bytes.end());
    if (edit) edit(tensors);
    out.insert(out.end(), tensors.begin(), tensors.end());
    io::write_file(path(name), out);
    return path(name);
  }

  static Json json_of(const std::vector<std::string>& words) {
    const Ran ran = run_cli(words);
    EXPECT_EQ(ran.code, 0) << ran.err;
    return ran.code == 0 ? Json::parse(ran.out) : Json();
  }

  // A square of ink, 14 of 40 pixels wide, left of the center: gray and alpha.
  static std::string canvas(const std::string& name, std::uint8_t ink, std::uint8_t ink_alpha, std::uint8_t paper,
                            std::uint8_t paper_alpha) {
    std::vector<std::uint8_t> rows;
    for (int y = 0; y < 40; ++y) {
      rows.push_back(0);
      for (int x = 0; x < 40; ++x) {
        const bool inside = y >= 13 && y < 27 && x >= 8 && x < 22;
        rows.push_back(inside ? ink : paper);
        rows.push_back(inside ? ink_alpha : paper_alpha);
      }
    }
    io::write_file(path(name), make_png(40, 40, 8, 4, rows));
    return path(name);
  }
  static bool notes(const Json& prediction, const std::string& text) {
    return prediction["notes"].dump().find(text) != std::string::npos;
  }

  static TempDir* dir_;
  static std::string data_;
};
TempDir* Files::dir_ = nullptr;
std::string Files::data_;

TEST_F(Files, AModelThatAnotherProgramEditedIsEvaluated) {
  const Json own = json_of({"eval", "-m", path("run"), "-d", data_, "--json"});
  const Json same = json_of({"eval", "-m", rewritten("copied", true), "-d", data_, "--json"});
  EXPECT_EQ(same["loss"], own["loss"]);
  const auto zero = [](Bytes& tensors) { std::fill_n(tensors.begin(), 400, std::byte{0}); };
  const Json edited = json_of({"eval", "-m", rewritten("edited", true, zero), "-d", data_, "--json"});
  EXPECT_NE(edited["loss"], own["loss"]);
  // A file that descent wrote is refused with the same damage, be it a checkpoint or a model.
  Bytes bytes = io::read_file(model_file());
  bytes.back() ^= std::byte{1};
  io::write_file(path("damaged"), bytes);
  const Ran damaged = run_cli({"eval", "-m", path("damaged"), "-d", data_});
  EXPECT_EQ(damaged.code, 2);
  EXPECT_NE(damaged.err.find("is damaged: CRC32C"), std::string::npos) << damaged.err;
}

TEST_F(Files, BareWeightsAreEvaluatedAndPredictedWith) {
  const std::string bare = rewritten("bare", false);
  const Ran refused = run_cli({"eval", "-m", bare, "-d", data_});
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("--model ARCHITECTURE --weights FILE"), std::string::npos) << refused.err;
  const Ran none = run_cli({"eval", "-m", path("model.json"), "-d", data_});
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("add --weights FILE"), std::string::npos) << none.err;

  // The run was trained with zscore of the same training images.
  const Json own = json_of({"eval", "-m", path("run"), "-d", data_, "--json"});
  const std::vector<std::string> with = {"-m", path("model.json"), "--weights", bare};
  const auto words = [&](std::vector<std::string> first, const std::vector<std::string>& rest) {
    first.insert(first.end(), with.begin(), with.end());
    first.insert(first.end(), rest.begin(), rest.end());
    return first;
  };
  const Json eval = json_of(words({"eval"}, {"-d", data_, "--json"}));
  EXPECT_EQ(eval["loss"], own["loss"]);
  EXPECT_EQ(eval["assumed"].size(), 2U) << eval["assumed"];
  const Ran said = run_cli(words({"eval"}, {"-d", data_}));
  EXPECT_NE(said.err.find("assumed: normalization zscore, fitted to the training images of data"), std::string::npos)
      << said.err;
  // A file with metadata needs no assumption.
  const Json full = json_of({"eval", "-m", path("model.json"), "--weights", path("run"), "-d", data_, "--json"});
  EXPECT_EQ(full["loss"], own["loss"]);
  EXPECT_TRUE(full["assumed"].empty());
  EXPECT_EQ(run_cli(words({"eval"}, {})).code, 1);  // no images are given

  const Json by_index = json_of(words({"predict"}, {"-d", data_, "--index", "6", "--json"}));
  const Json own_index = json_of({"predict", "-m", path("run"), "-d", data_, "--index", "6", "--json"});
  EXPECT_EQ(by_index["predictions"][0]["probabilities"], own_index["predictions"][0]["probabilities"]);
  io::write_png(path("six.png"), quadrants(80, 2).images.narrow(0, 6, 1).reshape({8, 8, 1}));
  const Json assumed = json_of(words({"predict"}, {path("six.png"), "--json"}));
  EXPECT_NE(assumed["assumed"].dump().find("pixels / 255"), std::string::npos) << assumed;
  EXPECT_EQ(assumed["predictions"][0]["name"].get<std::string>().size(), 1U);
  // Mean and standard deviation in torchvision's convention.
  const Json metadata = Json::parse(io::load_tensors(model_file()).metadata.at("normalization"));
  const double mean = metadata["shift"][0].get<double>() / 255;
  const double deviation = 1 / metadata["scale"][0].get<double>() / 255;
  const Json given = json_of(
      words({"predict"}, {path("six.png"), "--json", "--normalization", fmt::format("{},{}", mean, deviation)}));
  EXPECT_NEAR(given["predictions"][0]["probability"].get<double>(),
              own_index["predictions"][0]["probability"].get<double>(), 1e-5);
  for (const char* wrong : {"zscore", "0.1", "0.1,0", "1,2,x", "minmaxx"}) {
    const Ran ran = run_cli(words({"predict"}, {path("six.png"), "--normalization", wrong}));
    EXPECT_EQ(ran.code, 1) << wrong << ran.err;
  }
}

TEST_F(Files, WeightsOfAPresetSayHowManyClassesThereAre) {
  const nn::Model model = nn::build_model(nn::preset("mlp", {28, 28, 1}, 26), 1);
  io::TensorFile file = io::state_dict(*model.module);
  for (auto& [name, tensor] : file.tensors) name = "module." + name;  // DataParallel's names
  io::SaveOptions options;
  options.checksums = false;
  io::save_tensors(path("letters"), file, options);
  Tensor image = Tensor::zeros({28, 28, 1}, DType::u8);
  for (int i = 200; i < 500; ++i) image.data<std::uint8_t>()[i] = 255;
  io::write_png(path("letter.png"), image);
  const Json json = json_of({"predict", "-m", "mlp", "--weights", path("letters"), path("letter.png"), "--json"});
  EXPECT_EQ(json["predictions"][0]["probabilities"].size(), 26U);
  const Ran wrong = run_cli({"predict", "-m", "cnn", "--weights", path("letters"), path("letter.png")});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("the file's tensors are not the model's"), std::string::npos) << wrong.err;
}

// `train --out mlp` creates a folder, which must be usable by that name.
TEST_F(Files, ARunMayBeCalledLikeAnArchitecture) {
  RunOptions there;
  there.directory = dir_->path();
  for (const char* name : {"mlp", "saved.json"}) {
    SCOPED_TRACE(name);
    std::filesystem::copy(path("run"), path(name));
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"eval", "-m", name, "-d", "data"},
          std::vector<std::string>{"predict", "-m", name, "-d", "data", "--index", "0"},
          std::vector<std::string>{"inspect", name}}) {
      const Ran ran = run_cli(words, there);
      EXPECT_EQ(ran.code, 0) << words[0] << ": " << ran.err;
    }
    EXPECT_NE(run_cli({"inspect", name}, there).out.find("model.safetensors"), std::string::npos);
  }
  for (const char* name : {"lenet5", "file.json"}) {
    std::filesystem::copy_file(model_file(), path(name));
    const Ran ran = run_cli({"eval", "-m", name, "-d", "data"}, there);
    EXPECT_EQ(ran.code, 0) << ran.err;
  }
  // Without a folder of that name that holds a run, the name means the architecture; likewise for `inspect`.
  io::make_directories(path("cnn"));
  for (const char* name : {"cnn", "cnn-bn", "model.json"}) {
    const Ran ran = run_cli({"eval", "-m", name, "-d", "data"}, there);
    EXPECT_EQ(ran.code, 1) << ran.err;
    EXPECT_NE(ran.err.find("add --weights FILE"), std::string::npos) << ran.err;
  }
  EXPECT_NE(run_cli({"inspect", "cnn"}, there).out.find("421,642 parameters"), std::string::npos);
}

// Loading data may need a download, so a missing model is reported before any data is loaded.
TEST_F(Files, TheModelIsLookedAtBeforeTheData) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"eval", "-m", path("no-model"), "-d", path("no-data")},
        std::vector<std::string>{"predict", "-m", path("no-model"), "-d", path("no-data"), "--index", "0"}}) {
    const Ran ran = run_cli(words);
    EXPECT_EQ(ran.code, 4) << ran.err;
    EXPECT_NE(ran.err.find("no-model"), std::string::npos) << ran.err;
  }
}

// DistributedDataParallel around torch.compile, and vice versa.
TEST_F(Files, WrappersOfWrappersArePassedOver) {
  io::SaveOptions options;
  options.checksums = false;
  const io::TensorFile own = io::load_tensors(model_file());
  const auto weights = [&](const std::string& prefix) {
    io::TensorFile file;
    for (const auto& [name, tensor] : own.tensors) file.tensors.emplace_back(prefix + name, tensor);
    io::save_tensors(path("wrapped"), file, options);
    return run_cli({"eval", "-m", path("model.json"), "--weights", path("wrapped"), "-d", data_});
  };
  for (const char* prefix :
       {"module._orig_mod.", "_orig_mod.module.", "module.module.", "_orig_mod.module._orig_mod."}) {
    const Ran ran = weights(prefix);
    EXPECT_EQ(ran.code, 0) << prefix << ran.err;
  }
  EXPECT_EQ(weights("model.").code, 2);
}

TEST_F(Files, TrainingStartsFromWeights) {
  const std::string bare = rewritten("start", false);
  const std::vector<std::string> words = {
      "train", "-m", path("model.json"), "-d",       data_,       "--epochs", "1", "--lr", "1e-9", "-q",
      "-b",    "16", "--schedule",       "constant", "--weights", bare};
  const auto run = [&](const std::string& out, std::vector<std::string> more = {}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--out", path(out), "--json"});
    all.insert(all.end(), more.begin(), more.end());
    return json_of(all);
  };
  const Json own = json_of({"eval", "-m", path("run"), "-d", data_, "--json"});
  const Json tuned = run("tuned");
  EXPECT_NEAR(tuned["test_loss"].get<double>(), own["loss"].get<double>(), 0.02);
  EXPECT_EQ(run("again")["sha256"], tuned["sha256"]);
  const Json config = Json::parse(io::read_text(path("tuned") + "/config.json"));
  EXPECT_EQ(config["options"]["weights"], bare);
  EXPECT_NE(config["command"].get<std::string>().find("--weights " + bare), std::string::npos) << config["command"];
  // A run with checkpoints no longer needs the file; another file would make it a different training.
  std::filesystem::remove(bare);
  EXPECT_EQ(run_cli({"train", "--resume", "--out", path("tuned"), "--epochs", "2", "-q"}).code, 0);
  const std::string trained = path("tuned") + "/model.safetensors";
  const Ran other = run_cli({"train", "--resume", "--out", path("tuned"), "--weights", trained});
  EXPECT_EQ(other.code, 1) << other.err;
  const Ran gone = run_cli({"train", "-m", path("model.json"), "-d", data_, "--weights", bare, "--out", path("x")});
  EXPECT_EQ(gone.code, 4) << gone.err;
  EXPECT_FALSE(std::filesystem::exists(path("x")));
}

// What a web canvas exports, and every other way to draw the same picture: all give the same answer.
TEST_F(Files, TheBackgroundIsChosenByTheInk) {
  const std::string plain = canvas("plain.png", 255, 255, 0, 255);
  const auto predict = [&](const std::string& file) {
    return json_of({"predict", "-m", path("run"), file, "--json"})["predictions"][0];
  };
  const Json reference = predict(plain);
  EXPECT_FALSE(notes(reference, "transparent"));
  const std::vector<std::pair<std::string, const char*>> files = {
      {canvas("black-on-nothing.png", 0, 255, 0, 0), "laid over white"},
      {canvas("white-on-nothing.png", 255, 255, 255, 0), "laid over black"},
      {canvas("black-on-clear-white.png", 0, 255, 255, 0), "laid over white"},
      {canvas("black-on-white.png", 0, 255, 255, 255), "inverted"},
      {canvas("cut-out-of-black.png", 0, 0, 0, 255), "laid over white"},
      {canvas("cut-out-of-white.png", 255, 0, 255, 255), "laid over black"}};
  for (const auto& [file, note] : files) {
    SCOPED_TRACE(file);
    const Json prediction = predict(file);
    EXPECT_EQ(prediction["probabilities"], reference["probabilities"]);
    EXPECT_TRUE(notes(prediction, note)) << prediction["notes"];
  }
  const Json gray = predict(canvas("gray-paper.png", 40, 255, 180, 255));
  EXPECT_EQ(gray["class"], reference["class"]);
  EXPECT_NEAR(gray["probability"].get<double>(), reference["probability"].get<double>(), 0.02);
  const Json lighter = predict(canvas("gray-ground.png", 255, 255, 128, 255));  // light on gray counts as light on dark
  EXPECT_FALSE(notes(lighter, "inverted")) << lighter["notes"];
}

// A model that was trained on dark ink on light paper gets pictures with that polarity.
TEST_F(Files, ThePolarityIsTheModels) {
  io::TensorFile file = io::load_tensors(model_file());
  Json normalization = Json::parse(file.metadata.at("normalization"));
  normalization["shift"][0] = 255 - normalization["shift"][0].get<double>();
  normalization["scale"][0] = -normalization["scale"][0].get<double>();  // keeps the answers the same
  file.metadata["normalization"] = normalization.dump();
  io::SaveOptions options;
  options.as_i64 = {"2.num_batches_tracked"};
  io::save_tensors(path("dark.safetensors"), file, options);
  const auto predict = [&](const std::string& model, const std::string& picture) {
    return json_of({"predict", "-m", model, picture, "--json"})["predictions"][0];
  };
  const std::string light = canvas("light.png", 255, 255, 0, 255);
  const std::string dark = canvas("dark.png", 0, 255, 255, 255);
  const Json expected = predict(path("run"), light)["probabilities"];
  EXPECT_EQ(predict(path("run"), dark)["probabilities"], expected);
  const Json same = predict(path("dark.safetensors"), dark);
  const Json turned = predict(path("dark.safetensors"), light);
  EXPECT_FALSE(notes(same, "inverted")) << same["notes"];
  EXPECT_TRUE(notes(turned, "light on dark: inverted")) << turned["notes"];
  for (std::size_t c = 0; c < expected.size(); ++c) {
    EXPECT_NEAR(same["probabilities"][c].get<double>(), expected[c].get<double>(), 0.02);
    EXPECT_NEAR(turned["probabilities"][c].get<double>(), expected[c].get<double>(), 0.02);
  }
}

TEST_F(Files, NothingIsPredictedWhereNothingIsDrawn) {
  io::write_png(path("white.png"), Tensor::full({40, 40, 1}, 255, DType::u8));
  io::write_png(path("black.png"), Tensor::zeros({8, 8, 1}, DType::u8));
  Tensor scan = Tensor::full({40, 40, 3}, 240, DType::u8);
  for (std::int64_t i = 0; i < scan.numel(); i += 7) scan.data<std::uint8_t>()[i] = 248;  // a scanner's noise
  io::write_png(path("scan.png"), scan);
  canvas("clear.png", 0, 0, 0, 0);
  canvas("clear-white.png", 255, 0, 0, 0);
  canvas("almost-clear.png", 0, 5, 0, 0);
  for (const char* name : {"white.png", "black.png", "scan.png", "clear.png", "clear-white.png", "almost-clear.png"}) {
    SCOPED_TRACE(name);
    const Json prediction = json_of({"predict", "-m", path("run"), path(name), "--json"})["predictions"][0];
    EXPECT_TRUE(prediction["class"].is_null()) << prediction;
    EXPECT_TRUE(prediction["probabilities"].is_null()) << prediction;
    EXPECT_TRUE(notes(prediction, "nothing is drawn")) << prediction;
    const Ran text = run_cli({"predict", "-m", path("run"), path(name)});
    EXPECT_EQ(text.code, 0);
    EXPECT_NE(text.out.find("nothing is drawn"), std::string::npos) << text.out;
    EXPECT_EQ(text.out.find(" %"), std::string::npos) << text.out;
  }
  // An image of a dataset has a label, so there is an answer in addition to the note.
  const std::string blank = write_quadrants(path("blank"), 16, 4);
  io::write_file(blank + "/t10k-images-idx3-ubyte", data::encode_idx(Tensor::full({4, 8, 8}, 9, DType::u8)));
  const Json labelled =
      json_of({"predict", "-m", path("run"), "-d", blank, "--index", "0", "--json"})["predictions"][0];
  EXPECT_TRUE(notes(labelled, "nothing is drawn")) << labelled;
  EXPECT_FALSE(labelled["class"].is_null());
}

TEST_F(Files, EmptyInputIsRefusedNotAnswered) {
  const auto refused = [](const std::vector<std::string>& words, const char* says) {
    const Ran ran = run_cli(words);
    EXPECT_EQ(ran.code, 1) << ran.out << ran.err;
    EXPECT_EQ(ran.out, "");
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
  };
  refused({"predict", "-m", path("run")}, "nothing to look at");
  refused({"predict", "-m", path("run"), "-d", data_}, "nothing to look at");
  for (const char* index : {"none", "", ",", "-1", "1.5", "80"}) {
    refused({"predict", "-m", path("run"), "-d", data_, "--index", index}, "");
  }
  refused({"train", "-m", path("model.json"), "-d", data_, "--validation", "0.0001", "--out", path("none")},
          "none would be left to validate on");
  io::TensorFile file = io::load_tensors(model_file());
  file.tensors[0].second.fill(std::numeric_limits<double>::quiet_NaN());
  io::SaveOptions options;
  options.as_i64 = {"2.num_batches_tracked"};
  io::save_tensors(path("nan.safetensors"), file, options);
  const Ran nan = run_cli({"predict", "-m", path("nan.safetensors"), "-d", data_, "--index", "0"});
  EXPECT_EQ(nan.code, 7) << nan.out << nan.err;
  const Ran picture =
      run_cli({"predict", "-m", path("nan.safetensors"), canvas("it's d\xC3\xA9.png", 255, 255, 0, 255)});
  EXPECT_EQ(picture.code, 7) << picture.out << picture.err;
  EXPECT_NE(picture.err.find("it's d\xC3\xA9.png: the probability"), std::string::npos)
      << picture.err;  // the path as it was typed
}

TEST_F(Files, InspectListsWhatItCannotLoad) {
  const std::string header = R"({"__metadata__":{"model":"llama","format":"pt","note":"na\u00efve \u001b[m"},)"
                             R"("a":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"BOOL","shape":[],"data_offsets":[4,5]},)"
                             R"("c":{"dtype":"TO_COME","shape":[3],"data_offsets":[5,11]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size() & 0xFFU);
  bytes[1] = static_cast<char>(header.size() >> 8U);
  io::write_text(path("types.safetensors"), bytes + header + std::string(11, 'x'));
  const Json json = json_of({"inspect", path("types.safetensors"), "--json"});
  EXPECT_EQ(json["tensors"][0]["dtype"], "F8_E4M3");
  EXPECT_EQ(json["tensors"][2]["bytes"], 6);
  EXPECT_EQ(json["metadata"]["model"], "llama");
  const Ran text = run_cli({"inspect", path("types.safetensors")});
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* word : {"F8_E4M3", "BOOL", "TO_COME", "llama", "note: na\xC3\xAFve \\x1b[m"}) {
    EXPECT_NE(text.out.find(word), std::string::npos) << text.out;
  }
}

// Every JSON reader refuses a NUL: the parser would ignore what follows it.
TEST_F(Files, ANulDoesNotEndJson) {
  const auto refused = [](const std::vector<std::string>& words, const std::string& says) {
    const Ran ran = run_cli(words);
    EXPECT_EQ(ran.code, 2) << ran.out << ran.err;
    EXPECT_NE(ran.err.find(says), std::string::npos) << ran.err;
  };
  const std::string tail("\0{rubbish", 9);
  io::write_text(path("nul.json"), kMlp + tail);
  refused({"train", "-m", path("nul.json"), "-d", data_, "--out", path("none")}, "nul.json: JSON: byte");
  refused({"inspect", path("nul.json")}, "a NUL byte");
  io::make_directories(path("nul-run"));
  io::write_text(path("nul-run") + "/config.json", io::read_text(path("run") + "/config.json") + tail);
  refused({"train", "--resume", "--out", path("nul-run")}, "config.json");
  io::SaveOptions options;
  options.as_i64 = {"2.num_batches_tracked"};
  for (const char* field : {"model", "class_names", "normalization"}) {
    io::TensorFile file = io::load_tensors(model_file());
    file.metadata[field] += tail;
    io::save_tensors(path("nul.safetensors"), file, options);
    refused({"eval", "-m", path("nul.safetensors"), "-d", data_}, "a NUL byte");
  }
  std::filesystem::copy(path("run"), path("nul-checkpoint"));
  for (const auto& [field, says] : {std::pair("trainer", "a NUL byte"), std::pair("config", "config: not JSON")}) {
    io::TensorFile checkpoint = io::latest_valid_checkpoint(path("run")).file;
    ASSERT_FALSE(checkpoint.tensors.empty());
    checkpoint.metadata.at(field) += tail;
    io::save_checkpoint(path("nul-checkpoint"), 1'000'000, checkpoint);
    refused({"train", "--resume", "--out", path("nul-checkpoint"), "--epochs", "5"}, says);
  }
}

}  // namespace
}  // namespace descent::test
