// @ts-check
/** The device's camera: opened, shown, and let go of. */

/** @returns whether a page may ask for a camera here: not without HTTPS */
export const hasCamera = () => navigator.mediaDevices?.getUserMedia !== undefined;

/**
 * Shows the camera's picture. The camera is let go of when the signal is aborted.
 * @param {HTMLVideoElement} video
 * @param {AbortSignal} signal
 * @param {(error: DOMException) => void} onLost hears that the camera was unplugged or its permission taken back
 */
export async function showCamera(video, signal, onLost) {
  const stream = await navigator.mediaDevices.getUserMedia({
    // A kept frame is a photo: more than a camera's default of 640 x 480, where it has more.
    video: { facingMode: { ideal: 'environment' }, width: { ideal: 1280 } },
  });
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  };
  // The user may have answered the browser's question after the panel was closed.
  if (signal.aborted) return release();
  signal.addEventListener('abort', release, { once: true });
  // Not fired by stop().
  for (const track of stream.getTracks()) track.onended = () => onLost(new DOMException('the track ended', 'CameraLost'));
  video.srcObject = stream;
  await video.play();
}

/** A frame as a JPEG file. @param {ImageBitmap} frame @param {string} name */
export async function toPhoto(frame, name) {
  const canvas = new OffscreenCanvas(frame.width, frame.height);
  canvas.getContext('2d')?.drawImage(frame, 0, 0);
  const type = 'image/jpeg';
  return new File([await canvas.convertToBlob({ type, quality: 0.92 })], name, { type });
}
