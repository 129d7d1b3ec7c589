// @ts-check
/** Opens, shows and releases the device's camera. */

/** Whether a page can request a camera here; that requires https. */
export const hasCamera = () => navigator.mediaDevices?.getUserMedia !== undefined;

/**
 * Shows the camera's video. Aborting the signal releases the camera.
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 * @param {(error: DOMException) => void} onLost called if the camera is unplugged or its permission
 *   withdrawn
 */
export async function showCamera(video, signal, onLost) {
  if (!hasCamera()) throw new DOMException('getUserMedia is missing', 'InsecurePage');
  const stream = await navigator.mediaDevices.getUserMedia({
    // A kept frame becomes a photo, so ask for more than the usual default of 640 x 480.
    video: { facingMode: { ideal: 'environment' }, width: { ideal: 1280 } },
  });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
  // The user may have answered the permission prompt after closing the panel.
  if (signal.aborted) return release();
  signal.addEventListener('abort', release, { once: true });
  // `stop()` does not fire this event.
  const onended = () => onLost(new DOMException('the track ended', 'CameraLost'));
  for (const track of stream.getTracks()) track.onended = onended;
  video.srcObject = stream;
  await video.play();
}

/** Encodes a frame as a JPEG file. @param {ImageBitmap} frame @param {string} name */
export async function toPhoto(frame, name) {
  const canvas = new OffscreenCanvas(frame.width, frame.height);
  canvas.getContext('2d')?.drawImage(frame, 0, 0);
  const type = 'image/jpeg';
  return new File([await canvas.convertToBlob({ type, quality: 0.92 })], name, { type });
}
