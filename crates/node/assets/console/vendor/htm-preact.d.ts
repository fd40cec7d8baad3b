// Only tells that these exist; `lib/preact.js` gives them their types.
export const html: any;
export const render: any;
export const useState: any;
export const useEffect: any;
export const useLayoutEffect: any;
export const useRef: any;
export const useMemo: any;
export const useCallback: any;
export const useErrorBoundary: any;
