// @ts-check
/** Receives photos from the pickers, the camera, drops and pastes. */

/**
 * @param {{ pickers: HTMLInputElement[], highlight: HTMLElement }} elements
 * @param {(files: File[]) => void} onFiles
 */
export function listenForPhotos({ pickers, highlight }, onFiles) {
  const take = (/** @type {FileList | undefined} */ files) => {
    if (files?.length) onFiles([...files]);
  };
  for (const picker of pickers) {
    picker.addEventListener('change', () => {
      take(picker.files ?? undefined);
      // Choosing the same file again must fire another `change`.
      picker.value = '';
    });
  }
  document.addEventListener('paste', (event) => {
    if (event.clipboardData?.files.length) event.preventDefault();
    take(event.clipboardData?.files);
  });
  listenForDrops(highlight, take);
}

/** @param {HTMLElement} highlight @param {(files: FileList | undefined) => void} take */
function listenForDrops(highlight, take) {
  // `dragenter` of a child comes before `dragleave` of its parent, so entries are counted.
  let depth = 0;
  const mark = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    highlight.classList.toggle('is-target', depth > 0);
  };
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragenter', (event) => hasFiles(event) && mark(1));
  document.addEventListener('dragleave', (event) => hasFiles(event) && mark(-1));
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  });
  document.addEventListener('drop', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    take(event.dataTransfer?.files);
  });
}
