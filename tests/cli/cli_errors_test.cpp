// What the command says about bad options and bad files: the exit code, and one line of at most 400 characters that
// names the problem. One row per case.
#include "support/cli_run.h"

namespace descent::test {
namespace {

struct Row {
  int code;
  std::string says;  // part of the message
  std::vector<std::string> arguments;
};

class Errors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    data_ = write_quadrants(*dir_ / "data");
    write_model(*dir_ / "mlp.json", kMlp);
    const Ran ran =
        run_cli({"train", "-m", *dir_ / "mlp.json", "-d", data_, "--epochs", "1", "-q", "--out", *dir_ / "run"});
    ASSERT_EQ(ran.code, 0) << ran.err;
  }
  static void TearDownTestSuite() {
    delete dir_;
    dir_ = nullptr;
  }

  static void expect(const std::vector<Row>& rows, const RunOptions& options = {}) {
    for (const Row& row : rows) {
      std::string line = "descent";
      for (const std::string& word : row.arguments) line += " " + word;
      const Ran ran = run_cli(row.arguments, options);
      EXPECT_EQ(ran.code, row.code) << line << "\n" << ran.err;
      EXPECT_EQ(ran.out, "") << line;
      const auto begin = ran.err.rfind("descent: ");
      ASSERT_NE(begin, std::string::npos) << line << "\n" << ran.err;
      const std::string message = ran.err.substr(begin);
      EXPECT_NE(message.find(row.says), std::string::npos) << line << "\n" << ran.err;
      EXPECT_EQ(message.find('\n'), message.size() - 1) << line << "\n" << ran.err;
      EXPECT_LE(message.size(), 420U) << line;
    }
  }

  // A training on the small data, with these words added, that should fail before it starts.
  static Row train(int code, std::string says, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"train",    "-m", path("mlp.json"), "-d",        data_,
                                          "--epochs", "1",  "--out",          path("none")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return {code, std::move(says), std::move(arguments)};
  }
  static std::string path(const std::string& name) { return *dir_ / name; }
  static std::string write(const std::string& name, std::string_view text) {
    io::write_text(path(name), text);
    return path(name);
  }

  static TempDir* dir_;
  static std::string data_;
};
TempDir* Errors::dir_ = nullptr;
std::string Errors::data_;

TEST_F(Errors, Options) {
  expect({
      {1, "subcommand", {}},
      {1, "--bogus", {"--bogus"}},
      {1, "frobnicate", {"frobnicate"}},
      train(1, "--epochs", {"--epochs", "0"}),
      train(1, "--epochs", {"--epochs", "-3"}),
      train(1, "--epochs", {"--epochs", "two"}),
      train(1, "--epochs", {"--epochs", "99999999999999999999"}),
      train(1, "--epochs", {"--epochs", "1.5"}),
      train(1, "--batch-size", {"--batch-size", "0"}),
      train(1, "--batch-size", {"--batch-size", "-1"}),
      train(1, "--lr", {"--lr", "-0.1"}),
      train(1, "--lr", {"--lr", "0"}),
      train(1, "--lr", {"--lr", "nan"}),
      train(1, "--lr", {"--lr", "inf"}),
      train(1, "--lr", {"--lr", "fast"}),
      train(1, "--momentum", {"--optimizer", "sgd", "--momentum", "1"}),
      train(1, "adam has none", {"--momentum", "0.9"}),
      train(1, "--weight-decay", {"--weight-decay", "-1"}),
      train(1, "did you mean adam", {"--optimizer", "adma"}),
      train(1, "--optimizer", {"--optimizer", "newton"}),
      train(1, "did you mean cosine", {"--schedule", "cosin"}),
      train(1, "--label-smoothing", {"--label-smoothing", "1"}),
      train(1, "--clip-norm", {"--clip-norm", "nan"}),
      train(1, "--validation", {"--validation", "1"}),
      train(1, "--validation", {"--early-stop", "2"}),
      train(1, "--normalization", {"--normalization", "sometimes"}),
      train(1, "--dtype", {"--dtype", "f16"}),
      train(1, "--precision", {"--precision", "f16"}),
      train(1, "needs --device cuda", {"--device", "cpu", "--precision", "tf32"}),
      train(1, "f64 is never rounded", {"--dtype", "f64", "--precision", "bf16"}),
      {1, "needs --device cuda", {"bench", "--device", "cpu", "--precision", "tf32", "--peak"}},
      {1, "the table of kernels is for f32 and tf32", {"bench", "--device", "cpu", "--precision", "bf16"}},
      {1, "f64 is never rounded", {"bench", "--precision", "bf16", "--dtype", "f64", "--infer", "mlp"}},
      {1, "--precision", {"eval", "--model", "x", "--precision", "f16"}},
      train(1, "--seed", {"--seed", "-1"}),
      train(1, "--threads", {"--threads", "-2"}),
      train(1, "--warmup", {"--warmup", "10"}),
      train(1, "--limit-train", {"--limit-train", "0"}),
      train(1, "--out", {"--out"}),
      train(1, "device", {"--device", "tpu"}),
      {1, "--resume", {"train", "--resume"}},
      train(1, "exclude", {"--resume", "--force"}),
      {1, "--model", {"eval"}},
      {1, "bench", {"bench", "--train", "mlp", "--peak"}},
      {1, "no kernel", {"bench", "--op", "teleport"}},
      {1, "nothing to look at", {"predict", "--model", path("run")}},
      {1, "index into the test images", {"predict", "--model", path("run"), "--data", data_, "80"}},
      {1, "index into the test images", {"predict", "--model", path("run"), "--data", data_, "seven"}},
      {1, "expected mlp, lenet5", {"inspect", "alexnet"}},
  });
}

TEST_F(Errors, Devices) {
  if (cuda_unavailable_reason().empty()) GTEST_SKIP() << "a CUDA device is here";
  expect({
      train(5, "CUDA", {"--device", "cuda"}),
      train(5, "CUDA", {"--device", "cuda:3"}),
      {5, "CUDA", {"eval", "--model", path("run"), "--data", data_, "--device", "cuda"}},
      {5, "CUDA", {"gradcheck", "--device", "cuda"}},
  });
}

TEST_F(Errors, ModelFiles) {
  const auto with = [&](const std::string& name, std::string_view json, int code, const char* says) {
    return Row{code, says, {"train", "-m", write(name, json), "-d", data_, "--epochs", "1", "--out", path("none")}};
  };
  expect({
      {1, "expected mlp, lenet5", {"train", "-m", "resnet", "-d", data_, "--out", path("none")}},
      {4, "No such file", {"train", "-m", path("none.json"), "-d", data_, "--out", path("none")}},
      {4, "data", {"train", "-m", data_ + "/", "-d", data_, "--out", path("none")}},
      with("a.json", "{\"name\": ", 2, "a.json"),
      with("b.json", "[1, 2]", 2, "b.json"),
      with("c.json", R"({"input": [8, 8, 1], "layers": [{"type": "Linear", "out_featurs": 4}]})", 2, "out_featurs"),
      with("d.json", R"({"input": [8, 8, 1], "layers": [{"type": "Lineer", "out_features": 4}]})", 2, "Lineer"),
      with("e.json", R"({"input": [8, 8, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": -4}]})",
           2, "out_features"),
      with("f.json", R"({"input": [8, 8, 1], "layers": []})", 2, "layers"),
      with("g.json", std::string(5000, '['), 2, "nested"),
      with("h.json", R"({"input": [8, 8, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": 7}]})",
           1, "4 classes"),
      with("i.json", R"({"input": [9, 9, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": 4}]})",
           1, "its input"),
      with("j.json", std::string_view("\0\x01\xff", 3), 2, "j.json"),
  });
}

TEST_F(Errors, DataFiles) {
  const auto broken = [&](const std::string& name, const std::function<void(const std::string&)>& damage) {
    const std::string folder = write_quadrants(path(name));
    damage(folder);
    return std::vector<std::string>{"train",    "-m", path("mlp.json"), "-d",        folder,
                                    "--epochs", "1",  "--out",          path("none")};
  };
  const std::string images = "/train-images-idx3-ubyte";
  const auto cut = [&](const std::string& folder) {
    auto bytes = io::read_file(folder + images);
    bytes.resize(bytes.size() - 1);
    io::write_file(folder + images, bytes);
  };
  const auto gzipped = [&](const std::string& folder) {  // starts like gzip and ends right after the header
    io::write_file(folder + images, bytes_of(std::string_view("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10)));
  };
  const auto magic = [&](const std::string& folder) {
    auto bytes = io::read_file(folder + images);
    bytes[2] = std::byte{0x77};
    io::write_file(folder + images, bytes);
  };
  const auto fewer_labels = [](const std::string& folder) {
    io::write_file(folder + "/train-labels-idx1-ubyte", data::encode_idx(Tensor::zeros({3}, DType::u8)));
  };
  const auto a_directory = [&](const std::string& folder) {
    std::filesystem::remove(folder + images);
    io::make_directories(folder + images);
  };
  expect({
      {1, "expected mnist", {"train", "-d", "minst", "--out", path("none")}},
      {4, "", {"train", "-d", path("nowhere/"), "--out", path("none")}},
      {4, "", {"data", "check", path("run") + "/"}},
      {2, "train-images", broken("cut", cut)},
      {2, "train-images", broken("gz", gzipped)},
      {2, "train-images", broken("magic", magic)},
      {2, "labels", broken("labels", fewer_labels)},
      {4, "train-images", broken("folder", a_directory)},
      {4, "mnist", {"data", "fetch", "mnist", "--offline"}},
      {1, "expected 0 to 79", {"data", "show", data_, "--index", "80"}},
  });
}

TEST_F(Errors, SafetensorsFiles) {
  const std::string good = path("run") + "/model.safetensors";
  const auto damaged = [&](const std::string& name, const std::function<void(Bytes&)>& damage) {
    Bytes bytes = io::read_file(good);
    damage(bytes);
    io::write_file(path(name), bytes);
    return std::vector<std::string>{"eval", "--model", path(name), "--data", data_};
  };
  expect({
      {4, "No such file", {"eval", "--model", path("none.safetensors"), "--data", data_}},
      {4, "model.safetensors", {"eval", "--model", data_, "--data", data_}},
      {2, "flip", damaged("flip", [](Bytes& b) { b.back() ^= std::byte{1}; })},
      {2, "short", damaged("short", [](Bytes& b) { b.resize(b.size() - 4); })},
      {2, "header", damaged("header", [](Bytes& b) { b[7] = std::byte{0x7f}; })},
      {2, "tiny", damaged("tiny", [](Bytes& b) { b.resize(5); })},
      {2, "empty", damaged("empty", [](Bytes& b) { b.clear(); })},
      {2, "png", {"predict", "--model", good, write("no.png", "not a png")}},
      {4, "No such file", {"predict", "--model", good, path("none.png")}},
      {2, "json", {"inspect", write("k.json", "{]")}},
      {2, "metrics", {"inspect", path("run") + "/metrics.jsonl"}},
  });
}

TEST_F(Errors, RunFolders) {
  const std::string run = path("run");
  const std::string config = io::read_text(run + "/config.json");
  const auto folder = [&](const std::string& name, const std::string& text) {
    io::make_directories(path(name));
    io::write_text(path(name) + "/config.json", text);
    return std::vector<std::string>{"train", "-m", path("mlp.json"), "-d", data_, "--resume", "--out", path(name)};
  };
  std::string without = config;
  without.replace(without.find("\"batch_size\""), 12, "\"catch_size\"");
  std::string changed = config;
  changed.replace(changed.find("\"crc32c\":"), 11, "\"crc32c\": 1");
  expect({
      train(1, "--resume goes on with it, --force replaces it", {"--out", run}),
      {1, "--lr is 0.5", {"train", "--resume", "--out", run, "--lr", "0.5"}},
      {1, "--seed is 3", {"train", "--resume", "--out", run, "--seed", "3"}},
      {2, "config.json", folder("c1", "{\"options\"")},
      {2, "config.json", folder("c2", "{\"options\": 3}")},
      {2, "batch_size", folder("c3", without)},
      {1, "crc32c", folder("c4", changed)},
      train(4, "", {"--out", path("mlp.json")}),
      train(4, "", {"--out", path("mlp.json") + "/sub"}),
      train(4, "", {"--out", "/proc/none/sub"}),
  });
}

TEST_F(Errors, AllCheckpointsDamaged) {
  const std::string run = path("damaged");
  ASSERT_EQ(run_cli({"train", "-m", path("mlp.json"), "-d", data_, "--epochs", "2", "-q", "--out", run}).code, 0);
  for (const auto& entry : std::filesystem::directory_iterator(run)) {
    if (entry.path().filename().string().starts_with("checkpoint-")) io::write_text(entry.path().string(), "rubbish");
  }
  expect({{2, "no checkpoint is whole", {"train", "--resume", "--out", run}}});
}

TEST_F(Errors, StandardOutputThatIsFull) {
  RunOptions full;
  full.out = "/dev/full";
  expect({{4, "standard output", {"eval", "--model", path("run"), "--data", data_, "--json"}},
          {4, "standard output", {"inspect", "cnn"}},
          {4, "standard output", {"info", "--json"}}},
         full);
}

// The limit simulates a full disk: a checkpoint needs about 18 kB, config.json and metrics.jsonl less than 4 kB.
TEST_F(Errors, ADiskThatIsFullEndsTrainingAfterThreeCheckpoints) {
  RunOptions limited;
  limited.file_limit = 8192;
  const std::vector<std::string> arguments = {"train", "-m", path("mlp.json"), "-d",        data_, "--epochs",
                                              "9",     "-q", "--out",          path("full")};
  const Ran ran = run_cli(arguments, limited);
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_NE(ran.err.find("warning: checkpoint of step 3 NOT saved"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("warning: checkpoint of step 6 NOT saved"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("3 checkpoints in a row could not be saved"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("File too large"), std::string::npos) << ran.err;
}

TEST_F(Errors, NaNEndsWithItsOwnCode) {
  const Ran ran = run_cli({"train", "-m", path("mlp.json"), "-d", data_, "--epochs", "5", "-q", "--out", path("nan"),
                           "--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant"});
  EXPECT_EQ(ran.code, 7) << ran.err;
  EXPECT_NE(ran.err.find("layer "), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("step "), std::string::npos) << ran.err;
}

TEST_F(Errors, OutOfMemory) {
#if defined(DESCENT_ADDRESS_SANITIZER)
  GTEST_SKIP() << "AddressSanitizer needs the address space that this test takes away";
#else
  RunOptions small;
  small.memory_limit = std::uint64_t{3} << 30U;  // of address space; cuBLAS alone takes up to 1 GiB
  const std::string model = write(
      "large.json", R"({"input": [8, 8, 1], "layers": [{"type": "Flatten"}, {"type": "Linear", "out_features": 40000},
      {"type": "ReLU"}, {"type": "Linear", "out_features": 40000}, {"type": "ReLU"}, {"type": "Linear", "out_features": 4}]})");
  const Ran ran = run_cli(
      {"train", "-m", model, "-d", data_, "--epochs", "1", "-q", "--threads", "1", "--out", path("large")}, small);
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_NE(ran.err.find("memory"), std::string::npos) << ran.err;
#endif
}

}  // namespace
}  // namespace descent::test
