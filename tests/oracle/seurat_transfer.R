# Seurat's label transfer, and what it found at every stage.
#
#   Rscript seurat_transfer.R REFERENCE QUERY OUT FEATURES K_FILTER REDUCTION NN
#
# REFERENCE and QUERY hold matrix.mtx.gz (genes x cells, raw counts), features.tsv.gz,
# barcodes.tsv.gz and labels.csv (cell,label). K_FILTER is a number or NA (no filter), REDUCTION
# pcaproject or cca, NN annoy or rann. Writes, by the names of Seurat's own tables:
# anchors.csv.gz, predictions.csv.gz, embed_ref.csv.gz, embed_query.csv.gz, loadings.csv.gz,
# variable_features.csv.gz, filter_features.txt, metrics.json.
suppressMessages({library(Seurat); library(Matrix)})
args <- commandArgs(trailingOnly = TRUE)
out <- args[3]
k.filter <- if (args[5] == "NA") NA else as.numeric(args[5])
reduction <- args[6]
dir.create(out, showWarnings = FALSE, recursive = TRUE)

read_sample <- function(folder) {
  lines <- function(name) scan(file.path(folder, name), "", sep = "\n", quiet = TRUE)
  counts <- as(readMM(file.path(folder, "matrix.mtx.gz")), "CsparseMatrix")
  rownames(counts) <- lines("features.tsv.gz")
  colnames(counts) <- lines("barcodes.tsv.gz")
  labels <- read.csv(file.path(folder, "labels.csv"), row.names = 1, colClasses = "character")
  object <- NormalizeData(CreateSeuratObject(counts), verbose = FALSE)
  object$label <- labels[colnames(counts), "label"]
  object
}
write_table <- function(table, name) {
  write.csv(table, gzfile(file.path(out, paste0(name, ".csv.gz"))), row.names = FALSE, quote = FALSE)
}
embedding <- function(values, cells) data.frame(cell = cells, signif(values, 9), check.names = FALSE)

reference <- read_sample(args[1])
query <- read_sample(args[2])
reference <- FindVariableFeatures(reference, nfeatures = as.numeric(args[4]), verbose = FALSE)
started <- proc.time()[["elapsed"]]
anchors <- FindTransferAnchors(reference, query, reduction = reduction, k.filter = k.filter,
                               nn.method = args[7], verbose = FALSE)
found <- proc.time()[["elapsed"]]
predictions <- TransferData(anchors, reference$label, weight.reduction = reduction, verbose = FALSE)
done <- proc.time()[["elapsed"]]

pairs <- as.data.frame(anchors@anchors)
write_table(data.frame(ref = colnames(reference)[pairs$cell1], query = colnames(query)[pairs$cell2],
                       cell1 = pairs$cell1, cell2 = pairs$cell2, score = pairs$score), "anchors")
# Scores by the labels' own names, in the order of their first appearance; make.names changes them.
labels <- unique(reference$label)
scores <- predictions[, paste0("prediction.score.", make.names(labels)), drop = FALSE]
colnames(scores) <- labels
write_table(data.frame(cell = colnames(query), true = query$label,
                       predicted.id = predictions$predicted.id,
                       prediction.score.max = predictions$prediction.score.max, scores,
                       check.names = FALSE), "predictions")
combined <- anchors@object.list[[1]]
values <- Embeddings(combined[[reduction]])
n <- ncol(reference)
write_table(embedding(values[1:n, ], colnames(reference)), "embed_ref")
write_table(embedding(values[-(1:n), ], colnames(query)), "embed_query")
# Both reductions keep the loadings of all cells under this name.
loadings <- Loadings(combined[[reduction]], projected = TRUE)
write_table(data.frame(gene = rownames(loadings), signif(loadings, 9)), "loadings")
info <- HVFInfo(reference, selection.method = "vst")[VariableFeatures(reference), ]
write_table(data.frame(gene = rownames(info), info,
                       used = rownames(info) %in% anchors@anchor.features), "variable_features")
top <- Seurat:::TopDimFeatures(combined, reduction, dims = 1:30, max.features = 200,
                               projected = reduction == "pcaproject")
writeLines(unique(unlist(top)), file.path(out, "filter_features.txt"))
right <- mean(predictions$predicted.id == query$label)
f1 <- sapply(sort(unique(query$label)), function(label) {
  hit <- sum(predictions$predicted.id == label & query$label == label)
  2 * hit / max(sum(predictions$predicted.id == label) + sum(query$label == label), 1)
})
writeLines(sprintf(
  '{"seurat": "%s", "reduction": "%s", "nfeatures": %s, "k.filter": %s, "nn.method": "%s", "accuracy": %.6f, "macro_f1": %.6f, "anchors_seconds": %.2f, "transfer_seconds": %.2f}',
  packageVersion("Seurat"), reduction, args[4], if (is.na(k.filter)) "null" else k.filter,
  args[7], right, mean(f1), found - started, done - found), file.path(out, "metrics.json"))
