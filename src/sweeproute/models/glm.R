# Fits a logistic regression by R's glm: reads plain numbers, writes JSON; needs base R alone.
#
# Rscript glm.R look ANSWER
#   which engines there are.
# Rscript glm.R fit ANSWER DATA GAMES FEATURES ENGINE MAX_ITER EPSILON
#   DATA holds doubles, the lowest byte first: the outcome (0 or 1) of each game, then one feature after the other.
#   ENGINE is tidymodels (parsnip in a workflow) or stats (stats::glm).

words <- commandArgs(trailingOnly = TRUE)

# 17 digits name a double exactly. What is missing or not finite has no word in JSON.
number <- function(x) ifelse(is.finite(x), sprintf("%.17g", x), "null")
text <- function(x) paste0("\"", gsub("([\"\\\\])", "\\\\\\1", gsub("[[:cntrl:]]", " ", x)), "\"")
truth <- function(x) if (isTRUE(x)) "true" else "false"
list_of <- function(x) paste0("[", paste(x, collapse = ", "), "]")
object <- function(...) {
  parts <- c(...)
  paste0("{", paste0(text(names(parts)), ": ", parts, collapse = ",\n "), "}\n")
}

# The version of a package that can be loaded; empty where it cannot.
version_of <- function(package) {
  there <- suppressWarnings(suppressMessages(requireNamespace(package, quietly = TRUE)))
  if (there) as.character(utils::packageVersion(package)) else ""
}

look <- function() {
  object(
    R = text(as.character(getRversion())),
    parsnip = text(version_of("parsnip")),
    workflows = text(version_of("workflows")),
    blas = text(basename(unname(extSoftVersion()["BLAS"])))
  )
}

by_stats <- function(games, control) {
  stats::glm(outcome ~ ., family = stats::binomial(), data = games, control = control)
}

by_tidymodels <- function(games, control) {
  games$outcome <- factor(games$outcome, levels = c(0, 1), labels = c("lost", "won"))
  model <- parsnip::set_engine(parsnip::logistic_reg(mode = "classification"), "glm", control = control)
  flow <- workflows::add_model(workflows::add_formula(workflows::workflow(), outcome ~ .), model)
  workflows::extract_fit_engine(parsnip::fit(flow, data = games))
}

fit <- function(data, n_games, n_features, engine, max_iter, epsilon) {
  count <- n_games * (n_features + 1)
  numbers <- readBin(data, "double", n = count, size = 8, endian = "little")
  if (length(numbers) != count) stop(data, " holds ", length(numbers), " numbers, not ", count)
  games <- as.data.frame(matrix(numbers, nrow = n_games))
  names(games) <- c("outcome", if (n_features > 0) paste0("x", seq_len(n_features)))
  control <- stats::glm.control(epsilon = epsilon, maxit = max_iter)
  # What R warns of is told by the answer: it did not converge, or fitted probabilities are 0 or 1.
  fitted <- suppressWarnings(if (engine == "tidymodels") by_tidymodels(games, control) else by_stats(games, control))
  # A column that others determine has no coefficient: estimate, error, z and p are missing.
  table <- matrix(NA_real_, nrow = n_features + 1, ncol = 4)
  known <- summary(fitted)$coefficients
  table[match(rownames(known), names(stats::coef(fitted))), ] <- known
  near <- 10 * .Machine$double.eps
  object(
    coefficients = list_of(apply(table, 1, function(row) list_of(number(row)))),
    converged = truth(fitted$converged),
    certain = sum(fitted$fitted.values > 1 - near | fitted$fitted.values < near),
    iterations = fitted$iter,
    deviance = number(fitted$deviance),
    null_deviance = number(fitted$null.deviance)
  )
}

answer <- switch(words[1],
  look = look(),
  fit = fit(words[3], as.integer(words[4]), as.integer(words[5]), words[6], as.integer(words[7]), as.numeric(words[8]))
)
cat(answer, file = words[2])
