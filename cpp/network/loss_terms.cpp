#include "network/loss_terms.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace densegrad {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("Network: " + what); }

std::vector<LossTerm> given_terms(const Plan& plan, Size width) {
  if (plan.loss && !plan.terms.empty()) refuse("expected a loss or the terms of one, got both");
  if (plan.loss) return {{plan.loss, width, 1}};
  Size sum = 0;
  for (const LossTerm& term : plan.terms) {
    if (term.columns < 1 || term.columns > width - sum) refuse("expected terms whose columns the prediction has");
    if (!(term.weight >= 0 && std::isfinite(term.weight))) refuse("expected weights of terms that are finite and >= 0");
    sum += term.columns;
  }
  if (!plan.terms.empty() && sum != width) {
    refuse("expected terms of all " + std::to_string(width) + " columns, got " + std::to_string(sum));
  }
  return plan.terms;
}

}  // namespace

std::vector<Term> loss_terms(const Plan& plan) {
  if (!plan.has_loss()) return {};
  std::vector<Term> terms;
  Size column = 0, target = 0;
  for (const LossTerm& given : given_terms(plan, plan.widths[static_cast<std::size_t>(plan.prediction)])) {
    const PrimitiveRow& row = find_primitive("loss", given.loss.primitive);
    const TargetRule rule = target_rule(row.name, given.columns);
    terms.push_back({loss_named(row.name), attribute_values(row, given.loss.attributes), given.weight, column,
                     given.columns, target, rule});
    column += given.columns;
    target += rule.width;
  }
  return terms;
}

Size target_width(const std::vector<Term>& terms) {
  return terms.empty() ? 0 : terms.back().target + terms.back().rule.width;
}

bool takes_labels(const std::vector<Term>& terms) {
  return terms.size() == 1 && terms[0].rule.kind == TargetKind::classes;
}

}  // namespace densegrad
