# A Seurat object (version 4 or 5) of the files beside this script. In R:
#   library(Seurat)
#   source("import.R")
#   atlas <- read_atlas()
# or, in a shell, to write seurat.rds into this folder:
#   Rscript import.R
# Misc(atlas, "colors") has the colours of the report:
#   DimPlot(atlas, group.by = "cell_type", cols = Misc(atlas, "colors")$cell_type)

read_atlas <- function(folder = ".") {
  has_counts <- @has_counts@
  file_of <- function(name) file.path(folder, name)
  # Text is read as it stands: a label may be "NA", a cluster is no number.
  read <- function(name, ...) {
    utils::read.csv(file_of(name), check.names = FALSE, na.strings = character(),
                    encoding = "UTF-8", ...)
  }
  columns <- read("columns.csv", colClasses = "character")
  classes <- columns[!duplicated(columns$column), ]
  kinds <- stats::setNames(sub("factor", "character", classes$class), classes$column)
  metadata <- read("metadata.csv", row.names = 1, colClasses = c(cell = "character", kinds))
  colors <- list()
  for (name in classes$column[classes$class == "factor"]) {
    levels <- columns[columns$column == name, ]
    metadata[[name]] <- factor(metadata[[name]], levels = levels$value)
    if (any(nzchar(levels$color))) {
      colors[[name]] <- stats::setNames(levels$color, levels$value)
    }
  }
  values <- Seurat::Read10X(folder, gene.column = 2)
  if (has_counts) {
    atlas <- Seurat::CreateSeuratObject(values, project = "dice-atlas", meta.data = metadata)
    atlas <- Seurat::NormalizeData(atlas, scale.factor = @target_sum@, verbose = FALSE)
  } else {
    # The atlas has log-normalised values alone.
    assay <- SeuratObject::CreateAssayObject(data = values)
    atlas <- SeuratObject::CreateSeuratObject(assay, project = "dice-atlas", meta.data = metadata)
  }
  embeddings <- as.matrix(read("embeddings.csv", row.names = 1))
  of <- sub("_[0-9]+$", "", colnames(embeddings))
  for (name in unique(of)) {
    atlas[[name]] <- Seurat::CreateDimReducObject(
      embeddings[, of == name, drop = FALSE], key = paste0(name, "_"),
      assay = Seurat::DefaultAssay(atlas))
  }
  Seurat::Misc(atlas, slot = "colors") <- colors
  Seurat::Idents(atlas) <- "cell_type"
  atlas
}

script <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))
if (sys.nframe() == 0 && length(script) == 1) {
  saveRDS(read_atlas(dirname(script)), file.path(dirname(script), "seurat.rds"))
}
