// Checkpoints: which files are retained, which one is found, and what is reported about damaged ones.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "descent/io.h"
#include "support/files.h"

namespace descent::io {
namespace {

using test::TempDir;

TensorFile at_step(std::int64_t step) {
  TensorFile file;
  file.tensors.emplace_back("w", Tensor::full({100}, static_cast<double>(step)));
  file.metadata["state"] = std::to_string(step);
  return file;
}

std::string name(std::int64_t step) { return "checkpoint-" + std::to_string(step) + ".safetensors"; }

bool exists(const TempDir& dir, std::int64_t step) { return std::filesystem::exists(dir / name(step)); }

void damage(const std::string& path) {
  test::Bytes bytes = read_file(path);
  bytes[bytes.size() - 10] ^= std::byte{1};
  write_file(path, bytes);
}

TEST(Checkpoint, NewestComesBack) {
  const TempDir dir;
  const std::string path = save_checkpoint(dir / "run", 9, at_step(9));
  save_checkpoint(dir / "run", 10, at_step(10));
  EXPECT_EQ(path, dir / "run/checkpoint-9.safetensors");
  const FoundCheckpoint found = latest_valid_checkpoint(dir / "run");
  EXPECT_EQ(found.step, 10);
  EXPECT_EQ(found.path, dir / "run/checkpoint-10.safetensors");
  EXPECT_EQ(found.file.metadata.at("state"), "10");
  EXPECT_EQ(found.file.find("w")->to_vector<float>(), std::vector<float>(100, 10.0F));
  EXPECT_TRUE(found.damaged.empty());
}

TEST(Checkpoint, NoneInAnEmptyOrMissingDirectory) {
  const TempDir dir;
  EXPECT_EQ(latest_valid_checkpoint(dir.path()).step, -1);
  EXPECT_EQ(latest_valid_checkpoint(dir / "missing").path, "");
}

TEST(Checkpoint, KeepsTheNewestThree) {
  const TempDir dir;
  for (const std::int64_t step : {5, 20, 100, 3, 1000}) save_checkpoint(dir.path(), step, at_step(step));
  EXPECT_TRUE(exists(dir, 1000) && exists(dir, 100) && exists(dir, 20));
  EXPECT_FALSE(exists(dir, 5) || exists(dir, 3));
}

TEST(Checkpoint, SavesThoughAnOldOneCannotBeRemoved) {
  const TempDir dir;
  std::filesystem::create_directory(dir / name(1));  // unlink refuses a directory, even for root
  for (const std::int64_t step : {2, 3}) save_checkpoint(dir.path(), step, at_step(step), 1);
  EXPECT_TRUE(exists(dir, 1) && exists(dir, 3));
  EXPECT_FALSE(exists(dir, 2));
}

TEST(Checkpoint, NeverRemovesWhatWasJustSaved) {
  const TempDir dir;
  for (const std::int64_t step : {100, 200, 300}) save_checkpoint(dir.path(), step, at_step(step));
  save_checkpoint(dir.path(), 1, at_step(1));
  EXPECT_TRUE(exists(dir, 1));
}

TEST(Checkpoint, OtherFilesStay) {
  const TempDir dir;
  const std::vector<std::string> others = {"model.safetensors",
                                           "best.safetensors",
                                           "checkpoint-.safetensors",
                                           "checkpoint-x.safetensors",
                                           "checkpoint-0-best.safetensors",
                                           "checkpoint--1.safetensors",
                                           "checkpoint-1.safetensors.bak"};
  for (const std::string& other : others) write_text(dir / other, "x");
  for (std::int64_t step = 0; step < 6; ++step) save_checkpoint(dir.path(), step, at_step(step), 1);
  for (const std::string& other : others) EXPECT_TRUE(std::filesystem::exists(dir / other)) << other;
  EXPECT_EQ(dir.entries(), others.size() + 1);
  EXPECT_TRUE(latest_valid_checkpoint(dir.path()).damaged.empty());
}

TEST(Checkpoint, DamagedOnesAreNamedAndPassedOver) {
  const TempDir dir;
  for (const std::int64_t step : {1, 2, 3}) save_checkpoint(dir.path(), step, at_step(step));
  damage(dir / name(3));
  std::filesystem::resize_file(dir / name(2), 50);
  const FoundCheckpoint found = latest_valid_checkpoint(dir.path());
  EXPECT_EQ(found.step, 1);
  ASSERT_EQ(found.damaged.size(), 2U);
  EXPECT_EQ(found.damaged[0].path, dir / name(3));
  EXPECT_NE(found.damaged[0].reason.find("tensor \"w\" is damaged"), std::string::npos) << found.damaged[0].reason;
  EXPECT_EQ(found.damaged[1].path, dir / name(2));
  EXPECT_NE(found.damaged[1].reason.find("truncated"), std::string::npos) << found.damaged[1].reason;
}

// The format of earlier versions, without marks in the header: compact JSON with a checksum of its own content.
test::Bytes of_an_earlier_version(std::int64_t step) {
  const test::Bytes bytes = encode_tensors(at_step(step));
  std::size_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= std::to_integer<std::size_t>(bytes[i]) << (8 * i);
  const std::string text(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  auto json = nlohmann::ordered_json::parse(text);
  std::string content;
  for (const auto& [key, value] : json["__metadata__"].items()) {
    if (key != "crc32c") content += key + '\0' + value.get<std::string>() + '\0';
  }
  content += std::string("w\0F32\000100\0", 10);
  json["__metadata__"]["crc32c"] = fmt::format("{:08x}", crc32c(test::bytes_of(content)));
  std::string header = json.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  test::Bytes file;
  for (std::size_t i = 0; i < 8; ++i) file.push_back(static_cast<std::byte>((header.size() >> (8 * i)) & 0xFFU));
  const test::Bytes head = test::bytes_of(header);
  file.insert(file.end(), head.begin(), head.end());
  file.insert(file.end(), bytes.begin() + 8 + static_cast<std::ptrdiff_t>(length), bytes.end());
  return file;
}

TEST(Checkpoint, ThoseOfEarlierVersionsAreVerifiedToo) {
  const TempDir dir;
  const test::Bytes good = of_an_earlier_version(7);
  write_file(dir / name(7), good);
  const FoundCheckpoint found = latest_valid_checkpoint(dir.path());
  EXPECT_EQ(found.step, 7);
  EXPECT_EQ(found.file.metadata, at_step(7).metadata);
  EXPECT_EQ(found.file.find("w")->to_vector<float>(), std::vector<float>(100, 7.0F));
  save_checkpoint(dir.path(), 3, at_step(3));
  damage(dir / name(7));
  const FoundCheckpoint older = latest_valid_checkpoint(dir.path());
  EXPECT_EQ(older.step, 3);
  ASSERT_EQ(older.damaged.size(), 1U);
  EXPECT_NE(older.damaged[0].reason.find("tensor \"w\" is damaged"), std::string::npos) << older.damaged[0].reason;
  // Pruning must not count a damaged checkpoint as intact either, or it would delete older ones in its favor.
  write_text(dir / name(9), "not a checkpoint");
  save_checkpoint(dir.path(), 2, at_step(2), 1);
  EXPECT_FALSE(exists(dir, 7));
  EXPECT_EQ(latest_valid_checkpoint(dir.path()).step, 3);
}

TEST(Checkpoint, AFlippedBitInAnyByteOfAnEarlierVersionsIsNoticed) {
  const TempDir dir;
  const test::Bytes good = of_an_earlier_version(7);
  for (std::size_t at = 0; at < good.size(); ++at) {
    test::Bytes bad = good;
    bad[at] ^= static_cast<std::byte>(1U << (at % 8));
    std::ofstream(dir / name(7), std::ios::binary)
        .write(reinterpret_cast<const char*>(bad.data()), static_cast<std::streamsize>(bad.size()));
    EXPECT_EQ(latest_valid_checkpoint(dir.path()).step, -1) << "byte " << at;
  }
}

TEST(Checkpoint, AllDamaged) {
  const TempDir dir;
  save_checkpoint(dir.path(), 1, at_step(1));
  damage(dir / name(1));
  const FoundCheckpoint found = latest_valid_checkpoint(dir.path());
  EXPECT_EQ(found.step, -1);
  EXPECT_EQ(found.damaged.size(), 1U);
}

TEST(Checkpoint, TheNewestWholeOneSurvivesPruning) {
  const TempDir dir;
  for (const std::int64_t step : {7, 8, 9}) save_checkpoint(dir.path(), step, at_step(step));
  // The three highest-numbered ones are all damaged: 9 is the newest intact one.
  for (const std::int64_t step : {50, 60, 70}) write_text(dir / name(step), "not a checkpoint");
  save_checkpoint(dir.path(), 5, at_step(5));
  EXPECT_TRUE(exists(dir, 9));
  EXPECT_TRUE(exists(dir, 5));
  EXPECT_FALSE(exists(dir, 8) || exists(dir, 7));
  EXPECT_EQ(latest_valid_checkpoint(dir.path()).step, 9);
}

TEST(Checkpoint, LeftoversOfDeadProcessesGo) {
  const TempDir dir;
  const pid_t dead = (1 << 22) + 1;  // above the largest process id that Linux assigns
  write_text(dir / (".save-" + std::to_string(dead) + "-0.tmp"), "half");
  const std::string mine = ".save-" + std::to_string(getpid()) + "-99999.tmp";
  write_text(dir / mine, "half");
  write_text(dir / ".save-x-1.tmp", "other");
  save_checkpoint(dir.path(), 1, at_step(1));
  EXPECT_FALSE(std::filesystem::exists(dir / (".save-" + std::to_string(dead) + "-0.tmp")));
  EXPECT_TRUE(std::filesystem::exists(dir / mine));
  EXPECT_TRUE(std::filesystem::exists(dir / ".save-x-1.tmp"));
}

TEST(Checkpoint, RefusesNonsense) {
  const TempDir dir;
  EXPECT_ERROR("InvalidArgument", "step -1", save_checkpoint(dir.path(), -1, at_step(1)));
  EXPECT_ERROR("InvalidArgument", "keep 0", save_checkpoint(dir.path(), 1, at_step(1), 0));
  write_text(dir / "file", "x");
  EXPECT_ERROR("IoError", "file", save_checkpoint(dir / "file", 1, at_step(1)));
}

}  // namespace
}  // namespace descent::io
