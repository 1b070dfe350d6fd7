// Parses the operands of each kind of instruction.
#include <algorithm>

#include "ptx/kernel_reader.h"
#include "ptx/number.h"

namespace simulated::ptx {

// Instructions by their whole opcode. Barriers must include all threads of the block: a thread count is not supported.
const Names<KernelReader::Handler>& KernelReader::control_handlers() {
  static const Names<Handler> handlers = {
      {"bra", &KernelReader::branch},
      {"bra.uni", &KernelReader::branch},
      {"ret", &KernelReader::leave},
      {"ret.uni", &KernelReader::leave},
      {"exit", &KernelReader::leave},
      {"trap", &KernelReader::trap},
      {"bar.sync", &KernelReader::barrier},
      {"barrier.sync", &KernelReader::barrier},
      {"barrier.sync.aligned", &KernelReader::barrier},
      {"bar.red.popc.u32", &KernelReader::barrier_reduction},
      {"bar.red.and.pred", &KernelReader::barrier_reduction},
      {"bar.red.or.pred", &KernelReader::barrier_reduction},
      {"bar.warp.sync", &KernelReader::warp_barrier},
  };
  return handlers;
}

KernelReader::Handler KernelReader::handler(const Opcode& opcode) {
  static const Names<Handler> handlers = {
      {"call", &KernelReader::call},        {"ld", &KernelReader::load_or_store},
      {"st", &KernelReader::load_or_store}, {"atom", &KernelReader::atomic},
      {"red", &KernelReader::atomic},       {"shfl", &KernelReader::shuffle},
      {"vote", &KernelReader::vote},        {"match", &KernelReader::match},
      {"redux", &KernelReader::match},      {"activemask", &KernelReader::active_mask},
      {"membar", &KernelReader::fence},     {"fence", &KernelReader::fence},
      {"mov", &KernelReader::move},
  };
  if (const auto found = control_handlers().find(opcode.text); found != control_handlers().end()) return found->second;
  const auto found = handlers.find(opcode.mnemonic);
  return found == handlers.end() ? &KernelReader::operate : found->second;
}

std::vector<std::string> accepted_control() {
  std::vector<std::string> all;
  for (const auto& entry : KernelReader::control_handlers()) all.emplace_back(entry.first);
  std::sort(all.begin(), all.end());
  return all;
}

void KernelReader::find(Line& line, Execute (*find_in)(const Opcode&)) {
  line.out.execute = find_in(line.opcode);
  if (line.out.execute == nullptr) refuse("unknown instruction " + line.opcode.text);
}

Type KernelReader::last_type(const Line& line) const {
  const Type type = line.opcode.modifiers.empty() ? Type{'b', 0} : type_of(line.opcode.modifiers.back());
  if (type.bytes == 0) refuse("unknown type of " + line.opcode.text);
  return type;
}

void KernelReader::branch(Line& line) {
  expect(line, 1);
  line.out.control = Control::branch;
  line.out.uniform = line.opcode.text == "bra.uni";
  frames_.back().scopes.back().branches.emplace_back(kernel_.code.size(), line.operands[0]);
  emit(line);
}

void KernelReader::leave(Line& line) {
  expect(line, 0);
  line.out.uniform = line.opcode.text == "ret.uni";
  if (line.opcode.mnemonic == "ret" && !frames_.back().function.empty()) {
    line.out.control = Control::branch;
    frames_.back().returns.push_back(kernel_.code.size());
  } else {
    line.out.control = Control::exit;
  }
  emit(line);
}

void KernelReader::trap(Line& line) {
  expect(line, 0);
  line.out.control = Control::trap;
  emit(line);
}

void KernelReader::warp_barrier(Line& line) {
  expect(line, 1);
  source(line, 3, line.operands[0], {'b', 4});
  line.out.control = Control::warp_sync;
  find(line, find_warp);
  emit(line);
}

void KernelReader::barrier(Line& line) {
  expect(line, 1);
  source(line, 0, line.operands[0], {'b', 4});
  line.out.control = Control::barrier;
  emit(line);
}

// bar.red.popc.u32, bar.red.and.pred, bar.red.or.pred.
void KernelReader::barrier_reduction(Line& line) {
  const std::string& operation = line.opcode.modifiers[1];
  const bool counts = operation == "popc";
  expect(line, 3);
  if (counts) {
    destination(line, line.operands[0], {'u', 4});
  } else {
    line.out.targets[0] = predicate_target(line.operands[0]);
  }
  source(line, 0, line.operands[1], {'b', 4});
  std::string_view predicate = line.operands[2];
  line.out.negated_source = predicate[0] == '!';
  if (line.out.negated_source) predicate.remove_prefix(1);
  line.out.sources[1] = predicate_source(predicate);
  line.out.immediate = counts ? 0 : operation == "or" ? 1 : 2;
  line.out.control = Control::barrier_red;
  emit(line);
}

void KernelReader::load_or_store(Line& line) {
  const bool load = line.opcode.mnemonic == "ld";
  const Type type = last_type(line);
  expect(line, 2);
  std::string space;
  for (const std::string& modifier : line.opcode.modifiers) {
    if (modifier == "global" || modifier == "shared" || modifier == "local" || modifier == "param") space = modifier;
  }
  address(line, line.operands[load ? 1 : 0], space);
  find(line, find_memory);
  const auto parts = elements(line.operands[load ? 0 : 1]);
  std::size_t wanted = 1;
  for (const std::string& modifier : line.opcode.modifiers) {
    if (modifier == "v2") wanted = 2;
    if (modifier == "v4") wanted = 4;
  }
  if (parts.size() != wanted) refuse("a vector of another length");
  line.out.count = static_cast<std::uint8_t>(wanted);
  for (std::size_t n = 0; n < wanted; ++n) {
    if (load && wanted > 1 && parts[n] == "_") continue;
    const Register found = load ? target(parts[n]) : value(parts[n], type);
    check_size(parts[n], found, type, type.kind != 'f');
    if (line.out.target_width != 0 && line.out.target_width != found.width) refuse("registers of different sizes");
    line.out.target_width = static_cast<std::uint8_t>(found.width);
    line.out.targets[n] = found.offset;
  }
  emit(line);
}

void KernelReader::atomic(Line& line) {
  const Type type = last_type(line);
  const bool reduction = line.opcode.mnemonic == "red";
  const std::size_t first = reduction ? 0 : 1;
  const bool swap =
      std::find(line.opcode.modifiers.begin(), line.opcode.modifiers.end(), "cas") != line.opcode.modifiers.end();
  expect(line, first + (swap ? 3 : 2));
  if (!reduction && line.operands[0] != "_") {
    destination(line, line.operands[0], type);
  }
  std::string space;
  for (const std::string& modifier : line.opcode.modifiers) {
    if (modifier == "global" || modifier == "shared") space = modifier;
  }
  address(line, line.operands[first], space);
  find(line, find_memory);
  source(line, 1, line.operands[first + 1], type);
  if (swap) source(line, 2, line.operands[first + 2], type);
  emit(line);
}

// shfl.sync d|p, a, b, c, mask.
void KernelReader::shuffle(Line& line) {
  find(line, find_warp);
  expect(line, 5);
  destination_and_predicate(line);
  for (int n = 0; n < 4; ++n) source(line, n, line.operands[static_cast<std::size_t>(n) + 1], {'b', 4});
  line.out.control = Control::warp_sync;
  emit(line);
}

// vote.sync d, {!}p, mask: d is a predicate, or the ballot.
void KernelReader::vote(Line& line) {
  find(line, find_warp);
  expect(line, 3);
  const Type type = last_type(line);
  if (type.kind == 'p') {
    line.out.targets[0] = predicate_target(line.operands[0]);
  } else {
    destination(line, line.operands[0], type);
  }
  std::string_view predicate = line.operands[1];
  line.out.negated_source = predicate[0] == '!';
  if (line.out.negated_source) predicate.remove_prefix(1);
  line.out.sources[0] = predicate_source(predicate);
  source(line, 3, line.operands[2], {'b', 4});
  line.out.control = Control::warp_sync;
  emit(line);
}

// Parses d or d|p as the first operand.
void KernelReader::destination_and_predicate(Line& line) {
  const std::size_t bar = line.operands[0].find('|');
  destination(line, trimmed(line.operands[0].substr(0, bar)), {'b', 4});
  if (bar != std::string_view::npos) {
    line.out.targets[1] = predicate_target(trimmed(line.operands[0].substr(bar + 1)));
  }
}

// match.sync d{|p}, a, mask, where d is a mask; redux.sync d, a, mask, where d has the type of a.
void KernelReader::match(Line& line) {
  find(line, find_warp);
  expect(line, 3);
  destination_and_predicate(line);
  source(line, 0, line.operands[1], last_type(line));
  source(line, 3, line.operands[2], {'b', 4});
  line.out.control = Control::warp_sync;
  emit(line);
}

void KernelReader::active_mask(Line& line) {
  find(line, find_warp);
  expect(line, 1);
  destination(line, line.operands[0], {'b', 4});
  emit(line);
}

void KernelReader::fence(Line& line) {
  find(line, find_warp);
  expect(line, 0);
  emit(line);
}

// mov of one register, or with braces on one side (pack and unpack).
void KernelReader::move(Line& line) {
  const bool packs = line.operands.size() == 2 && line.operands[1][0] == '{';
  const bool unpacks = line.operands.size() == 2 && line.operands[0][0] == '{';
  if (!packs && !unpacks) return operate(line);
  if (packs && unpacks) refuse("a mov between vectors");
  if (line.opcode.text != "mov.b32" && line.opcode.text != "mov.b64") {
    refuse("unknown instruction " + line.opcode.text + " of a vector");
  }
  const Type type = last_type(line);
  const auto parts = elements(line.operands[packs ? 1 : 0]);
  const Type part{'b', type.bytes / static_cast<int>(parts.size())};
  if (parts.size() == 3 || part.bytes < 2) refuse("a vector of another length");
  line.out.count = static_cast<std::uint8_t>(parts.size());
  if (packs) {
    const Register whole = target(line.operands[0]);
    check_size(line.operands[0], whole, type, false);
    line.out.targets[0] = whole.offset;
    line.out.target_width = static_cast<std::uint8_t>(whole.width);
  } else {
    source(line, 0, line.operands[1], type);
  }
  for (std::size_t n = 0; n < parts.size(); ++n) {
    if (unpacks && parts[n] == "_") continue;
    const Register found = packs ? value(parts[n], part) : target(parts[n]);
    check_size(parts[n], found, part, false);
    (packs ? line.out.sources : line.out.targets)[n] = found.offset;
  }
  line.out.execute = packs ? pack : unpack;
  emit(line);
}

// All instructions that compute a register from other registers.
void KernelReader::operate(Line& line) {
  const std::string& text = line.opcode.text;
  const Operation* operation = nullptr;
  bool conversion = false;
  if (const auto known = arithmetic().find(text); known != arithmetic().end()) {
    operation = &known->second;
  } else if (const auto conversion_known = conversions().find(text); conversion_known != conversions().end()) {
    operation = &conversion_known->second;
    conversion = line.opcode.mnemonic == "cvt";
  } else {
    refuse("unknown instruction " + text);
  }
  expect(line, 1 + operation->sources.size());
  line.out.execute = operation->execute;
  line.out.flops = operation->flops;
  // Only integer operands of cvt may be in wider registers.
  const auto wider = [&](Type type) { return conversion && type.kind != 'f' && type.kind != 'h'; };
  if (operation->target.kind == 'p') {
    line.out.targets[0] = predicate_target(line.operands[0]);
  } else {
    const Register found = target(line.operands[0]);
    check_size(line.operands[0], found, operation->target, wider(operation->target));
    line.out.targets[0] = found.offset;
    line.out.target_width = static_cast<std::uint8_t>(found.width);
  }
  for (std::size_t n = 0; n < operation->sources.size(); ++n) {
    const Type type = operation->sources[n];
    const std::string_view operand = line.operands[n + 1];
    const Register found = value(operand, type);
    if (type.kind != 'p') check_size(operand, found, type, wider(type));
    line.out.sources[n] = found.offset;
    if (n == 0) line.out.source_width = static_cast<std::uint8_t>(found.width);
  }
  emit(line);
}

}  // namespace simulated::ptx
