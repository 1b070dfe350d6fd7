// Where datasets are found, and under which name. A script on the path replaces curl as the network. Known files must
// match real checksums, and these tests lack the real files: they check what is refused, replaced and reported.
#include <sys/stat.h>

#include <cstdlib>

#include "data/directory.h"
#include "data/download.h"
#include "descent/data.h"
#include "descent/io.h"
#include "support/files.h"
#include "support/idx_files.h"

namespace descent::data {
namespace {

using test::TempDir;

// Sets an environment variable for one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { old_.empty() ? unsetenv(name_) : setenv(name_, old_.c_str(), 1); }

 private:
  const char* name_;
  std::string old_;
};

class LoadTest : public testing::Test {
 protected:
  // Creates a program of this name that runs these lines; otherwise only the shell's built-in commands are available.
  void tool(const std::string& name, const std::string& lines) {
    io::make_directories(dir_ / "bin");
    io::write_text(dir_ / ("bin/" + name), "#!/bin/sh\nfor url; do :; done\n" + lines + "\n");
    chmod((dir_ / ("bin/" + name)).c_str(), 0755);
  }
  Log log() {
    return [this](std::string_view line) { said_ += std::string(line) + "\n"; };
  }
  bool said(const std::string& text) const { return said_.find(text) != std::string::npos; }

  TempDir dir_;
  std::string said_;
  Variable cache_{"XDG_CACHE_HOME", dir_ / "cache"};
  Variable path_{"PATH", dir_ / "bin"};
  Variable data_{"DESCENT_DATA_DIR", ""};
};

TEST_F(LoadTest, UnknownNames) {
  EXPECT_ERROR("InvalidArgument", "data \"mnsit\": expected mnist, fashion-mnist, synthetic or a directory",
               load("mnsit"));
  EXPECT_ERROR("IoError", "open directory: No such file", load(dir_ / "nowhere"));
}

TEST_F(LoadTest, Directory) {
  test::write_idx_dataset(dir_ / "shapes", 30, 10, ".", true);
  const DatasetPair pair = load(dir_ / "shapes");
  EXPECT_EQ(pair.train.name, "shapes");
  EXPECT_EQ(load(dir_ / "shapes/").train.name, "shapes");
  EXPECT_EQ(pair.train.size(), 30);
}

TEST_F(LoadTest, UserDirectoryIsTakenButNotUnderAFalseName) {
  const Variable data("DESCENT_DATA_DIR", dir_ / "data");
  test::write_idx_dataset(dir_ / "data/mnist", 30, 10);
  const DatasetPair pair = load("mnist", FetchPolicy::local, log());
  EXPECT_EQ(pair.train.name, "mnist (modified)");
  EXPECT_EQ(pair.test.name, "mnist (modified)");
  EXPECT_TRUE(said("WARNING")) << said_;
}

TEST_F(LoadTest, UserDirectoryMayBeTheFilesOwn) {
  const Variable data("DESCENT_DATA_DIR", dir_ / "data");
  test::write_idx_dataset(dir_ / "data", 30, 10);
  EXPECT_EQ(load("mnist", FetchPolicy::local).train.size(), 30);
}

TEST_F(LoadTest, CacheWithForeignFilesIsNotUsed) {
  test::write_idx_dataset(dir_ / "cache/descent/mnist", 30, 10);
  EXPECT_ERROR("IoError", "mnist: not in DESCENT_DATA_DIR and not in the cache", load("mnist", FetchPolicy::local));
  EXPECT_ERROR("FormatError", "its files are not those of mnist; remove them", load("mnist", FetchPolicy::download));
}

TEST_F(LoadTest, LocalNeverDownloads) {
  tool("curl", "echo called > " + (dir_ / "called"));
  EXPECT_ERROR("IoError", "mnist: not in", load("mnist", FetchPolicy::local));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "called"));
}

TEST_F(LoadTest, NoToolNoDownload) {
  io::make_directories(dir_ / "bin");
  EXPECT_ERROR("IoError", "neither curl nor wget is installed", load("mnist", FetchPolicy::download));
}

TEST_F(LoadTest, BothMirrorsAreTried) {
  tool("curl", "echo \"no route to $url\" >&2; exit 7");
  EXPECT_ERROR("IoError", "curl failed with code 7: no route to https://ossci",
               load("mnist", FetchPolicy::download, log()));
  EXPECT_TRUE(said("downloading https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"))
      << said_;
  EXPECT_TRUE(said("downloading https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz")) << said_;
}

TEST_F(LoadTest, WgetStandsIn) {
  tool("wget", "echo offline >&2; exit 4");
  EXPECT_ERROR("IoError", "wget failed with code 4: offline", load("mnist", FetchPolicy::download));
}

TEST_F(LoadTest, AWrongChecksumIsAnErrorAndNothingIsKept) {
  io::write_file(dir_ / "other.gz", test::gzip(encode_idx(Tensor::zeros({6, 2, 2}, DType::u8))));
  tool("curl", "exec /bin/cat " + (dir_ / "other.gz"));
  EXPECT_ERROR("FormatError", "expected ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
               load("mnist", FetchPolicy::download));
  EXPECT_ERROR("FormatError", "SHA-256", load("mnist", FetchPolicy::fallback));
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "cache/descent/mnist"));
}

TEST_F(LoadTest, ALoginPageIsNotAFile) {
  tool("curl", "echo '<html>please pay</html>'");
  EXPECT_ERROR("IoError", "magic number begins 0x3c 0x68", load("mnist", FetchPolicy::download, log()));
  EXPECT_TRUE(said("ossci")) << said_;
}

TEST_F(LoadTest, AnEndlessAnswerIsCutOff) {
  tool("curl", "exec /bin/cat /dev/zero");
  EXPECT_ERROR("IoError", "more than 1000000 bytes", download("http://example.invalid/x", 1'000'000));
}

TEST_F(LoadTest, AFileIsKeptWhenItIsRight) {
  const Tensor tensor = Tensor::from(std::vector<std::uint8_t>{1, 2, 3}, {3});
  KnownDataset known = *find_known("mnist");
  const std::string sha256 = io::sha256_hex(encode_idx(tensor));
  for (KnownFile& file : known.files) file.sha256 = sha256;
  io::write_file(dir_ / "right.gz", test::gzip(encode_idx(tensor)));
  tool("curl", "echo $url >> " + (dir_ / "urls") + "; exec /bin/cat " + (dir_ / "right.gz"));
  download_dataset(known, dir_ / "got", log());
  EXPECT_TRUE(has_all_files(dir_ / "got"));
  download_dataset(known, dir_ / "got", log());
  const std::string urls = io::read_text(dir_ / "urls");
  EXPECT_EQ(std::count(urls.begin(), urls.end(), '\n'), 4) << urls;  // the second call found all files
}

TEST_F(LoadTest, FallbackIsLoudAndHonest) {
  tool("curl", "exit 6");
  const DatasetPair pair = load("mnist", FetchPolicy::fallback, log());
  EXPECT_TRUE(said("WARNING: mnist can't be had")) << said_;
  if (has_all_files(std::string(find_known("fashion-mnist")->package_directory))) {
    EXPECT_EQ(pair.train.name, "fashion-mnist");
    EXPECT_TRUE(said("using fashion-mnist INSTEAD OF mnist")) << said_;
  } else {
    EXPECT_EQ(pair.train.name, "synthetic");
    EXPECT_EQ(pair.test.name, "synthetic");
    EXPECT_TRUE(said("using synthetic INSTEAD OF mnist")) << said_;
  }
}

TEST_F(LoadTest, WithoutFallbackNothingIsReplaced) {
  tool("curl", "exit 6");
  EXPECT_THROW(load("mnist", FetchPolicy::download, log()), IoError);
  EXPECT_FALSE(said("INSTEAD"));
}

// The real files, if the machine has them.
TEST(LoadReal, Mnist) {
  const char* base = std::getenv("DESCENT_DATA_DIR");
  if (base == nullptr || *base == '\0') GTEST_SKIP() << "DESCENT_DATA_DIR is not set";
  const DatasetPair pair = load("mnist", FetchPolicy::local);
  ASSERT_EQ(pair.train.name, "mnist");
  EXPECT_EQ(pair.train.images.shape(), (Shape{60'000, 28, 28, 1}));
  EXPECT_EQ(pair.test.images.shape(), (Shape{10'000, 28, 28, 1}));
  EXPECT_EQ(class_counts(pair.train),
            (std::vector<std::int64_t>{5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949}));
  const std::string directory = std::filesystem::path(pair.train.source).parent_path();
  for (const KnownFile& file : find_known("mnist")->files) {
    EXPECT_EQ(io::sha256_hex(encode_idx(read_idx(find_idx(directory, file.stem)))), file.sha256) << file.stem;
  }
  EXPECT_TRUE(find_duplicates(pair.train, pair.test).empty());
  const Normalization normalization = Normalization::fit(Normalization::Kind::zscore, pair.train);
  EXPECT_NEAR(normalization.shift[0] / 255, 0.1307, 5e-5);
  EXPECT_NEAR(1 / normalization.scale[0] / 255, 0.3081, 5e-5);
}

}  // namespace
}  // namespace descent::data
